#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| mysqlset_fuzz::compressed_members(data));
