//! A datagram on its way through a VTEP and a bridge. What it does and what it checks is in the library, whose
//! tests replay the corpus.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mvpnet_transports::vxlan::fuzz::vxlan_datagram(bytes);
});
