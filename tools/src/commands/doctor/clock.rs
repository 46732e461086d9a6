//! The clock: records expire by it, so that it should be right on every node.

use super::check::Check;

/// Whether the kernel says that the clock is synchronised.
pub fn check() -> Check {
    let what = "clock";
    // SAFETY: timex is plain data, for which zeros are valid: no mode bit set means read only.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `state` is a valid timex; with `modes` 0 the call only writes into it.
    let result = unsafe { libc::adjtimex(&raw mut state) };
    let error_ms = state.maxerror / 1000;
    if result < 0 {
        let error = std::io::Error::last_os_error();
        return Check::warn(
            what,
            format!("unknown: {error}"),
            "make sure that NTP or PTP keeps it",
        );
    }
    if result == libc::TIME_ERROR || state.status & libc::STA_UNSYNC != 0 {
        return Check::warn(
            what,
            "not synchronised",
            "run chrony, systemd-timesyncd or another NTP client: records expire by this clock \
             (data is never ordered by it)",
        );
    }
    Check::ok(what, format!("synchronised, at most {error_ms} ms off"))
}
