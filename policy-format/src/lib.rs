//! What a hybrid policy is.
#![no_std]
#![forbid(unsafe_code)]
