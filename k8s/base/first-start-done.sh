# Run by the server's image as the last step of a first start: what a start that was interrupted leaves has no mark, and
# is not taken for a database.
sync
touch "${DATADIR:-/var/lib/mysql}/.mysqlset-first-start-done"
