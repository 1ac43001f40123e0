#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| broker_fuzz::origins::run(data));
