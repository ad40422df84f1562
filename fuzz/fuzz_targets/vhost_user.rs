//! What a front end, a guest and the frame loop do to a vhost-user link, one thing after the other. What it does and what
//! it checks is in the library, whose tests replay the corpus.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mvpnet_qemu_driver::links::vhost_user::fuzz::vhost_user(bytes);
});
