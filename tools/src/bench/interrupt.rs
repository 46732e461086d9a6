//! Ctrl-C during a run: it ends early and shows what was measured so far. A second Ctrl-C ends the program at once.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_: libc::c_int) {
    INTERRUPTED.store(true, Relaxed);
}

/// From now on Ctrl-C and SIGTERM are taken note of.
pub fn listen() {
    // SAFETY: zeros are a valid `sigaction`: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = note as *const () as libc::sighandler_t;
    action.sa_flags = libc::SA_RESETHAND | libc::SA_RESTART;
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the handler only stores to an atomic, which is allowed in a signal handler.
        unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    }
}

/// Whether the run is to end.
pub fn requested() -> bool {
    INTERRUPTED.load(Relaxed)
}

/// Ends the run as Ctrl-C does: something failed that makes it useless.
pub fn request() {
    INTERRUPTED.store(true, Relaxed);
}
