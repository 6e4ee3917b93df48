//! Looks up host names by `/etc/hosts` and DNS, and overrides an image's `/etc/nsswitch.conf`.
//!
//! A statically linked program contains these two services of glibc. For any other service in that file, such as
//! `myhostname` in images of the Red Hat family, glibc loads the image's library, which belongs to another glibc.
//! Then the first name unknown to both services killed the program by SIGFPE (seen with glibc 2.36 in a root of
//! 2.41). In a pod these two services suffice.

use std::ffi::{CStr, c_char, c_int};

use crate::model::event::warn;

/// In the syntax of `/etc/nsswitch.conf`.
const SERVICES: &CStr = c"files dns";

#[cfg(target_env = "gnu")]
#[allow(unsafe_code, reason = "a function of glibc's that no library wraps")]
mod glibc {
    use super::{CStr, c_char, c_int};

    unsafe extern "C" {
        /// Declared in glibc's nss.h.
        fn __nss_configure_lookup(database: *const c_char, services: *const c_char) -> c_int;
    }

    pub fn configure(database: &CStr, services: &CStr) -> bool {
        // SAFETY: both are strings that end in a NUL and live for ever; glibc copies what it keeps of them.
        unsafe { __nss_configure_lookup(database.as_ptr(), services.as_ptr()) == 0 }
    }
}

/// Call it once, before the first lookup and the first thread. Returns whether it worked. Other libcs than glibc
/// need no override.
pub fn use_built_in() -> bool {
    #[cfg(target_env = "gnu")]
    return glibc::configure(c"hosts", SERVICES);
    #[cfg(not(target_env = "gnu"))]
    true
}

/// Logs that the override failed. Call it once logging is set up.
pub fn tell_of_glibc() {
    warn!(NamesByGlibc, "cannot override glibc's NSS order; using /etc/nsswitch.conf");
}
