#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| mysqlset_fuzz::framed_xbstream(data));
