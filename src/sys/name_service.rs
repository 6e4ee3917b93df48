//! How names of hosts are looked up: by `/etc/hosts` and DNS, whatever an image's `/etc/nsswitch.conf` says.
//!
//! A program that is linked statically has these two services of glibc's built in. For any other that the file names, such
//! as `myhostname` in images of the Red Hat family, glibc loads the image's library, which belongs to another glibc: at the
//! first name that neither service knew the program died by SIGFPE (seen with glibc 2.36 in a root of 2.41). In a pod
//! nothing but these two knows anything.

use std::ffi::{CStr, c_char, c_int};

use crate::model::event::warn;

/// As `/etc/nsswitch.conf` would have it.
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

/// Called once, before the first lookup and the first thread. Whether it could be done; where another libc than glibc is
/// linked, nothing has to be.
pub fn use_built_in() -> bool {
    #[cfg(target_env = "gnu")]
    return glibc::configure(c"hosts", SERVICES);
    #[cfg(not(target_env = "gnu"))]
    true
}

/// Where it could not be done: once there is a log.
pub fn tell_of_glibc() {
    warn!(NamesByGlibc, "names are looked up as /etc/nsswitch.conf says: glibc takes no other word for it");
}
