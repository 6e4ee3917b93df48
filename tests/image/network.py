"""The pods' network: a bridge, one network namespace for each pod, and a name server that knows the pods so far.

run.sh gives the test a network namespace of its own, so that nothing of this is left when it ends.
"""

import pathlib
import signal
import subprocess

from engine import Failed, run

BRIDGE = "10.97.0.1"
DOMAIN = "default.svc.cluster.local"


class Network:
    def __init__(self, directory, service):
        self.service = service
        self.hosts = pathlib.Path(directory, "hosts")
        self.hosts.write_text("")
        for command in [
            "link set lo up",
            "link add br0 type bridge",
            f"addr add {BRIDGE}/16 dev br0",
            "link set br0 up",
        ]:
            run("ip", *command.split())
        # A name that it does not know does not exist; no other server is asked.
        self.names = subprocess.Popen(
            ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root", "--no-resolv"]
            + ["--no-hosts", f"--addn-hosts={self.hosts}", f"--listen-address={BRIDGE}", "--bind-interfaces"]
            + ["--local=/cluster.local/", "--local=/mysql/", "--local=//", "--log-facility=-"],
            stderr=subprocess.PIPE,
            text=True,
        )
        self.wait_for_names()

    def wait_for_names(self):
        """Until it has said that it read the file: a signal before that would end it."""
        for line in self.names.stderr:
            if f"read {self.hosts}" in line:
                return
        raise Failed("dnsmasq did not start")

    def add(self, pod, number):
        """The pod's namespace, and its names in the headless Service."""
        address = f"10.97.1.{number + 1}"
        for command in [
            f"netns add {pod}",
            f"link add v{number} type veth peer name eth0 netns {pod}",
            f"link set v{number} master br0 up",
            f"-netns {pod} link set lo up",
            f"-netns {pod} addr add {address}/16 dev eth0",
            f"-netns {pod} link set eth0 up",
        ]:
            run("ip", *command.split())
        with self.hosts.open("a") as hosts:
            hosts.write(f"{address} {pod}.{self.service}.{DOMAIN} {self.service}.{DOMAIN}\n")
        self.names.send_signal(signal.SIGHUP)
        self.wait_for_names()
        return address

    def options(self, pod):
        """What a container of the pod is started with."""
        search = [DOMAIN, "svc.cluster.local", "cluster.local"]
        return [
            f"--network=ns:/run/netns/{pod}",
            f"--dns={BRIDGE}",
            *(f"--dns-search={domain}" for domain in search),
            "--dns-option=ndots:5",
            "--dns-option=timeout:1",
        ]

    def end(self):
        self.names.terminate()
        self.names.wait()
