//! Memory that is free goes back to the kernel. glibc keeps what it once had: a clone's buffers leave holes between what
//! connections take meanwhile, and a sidecar that serves clones in a flood of connections grows to three times its size.

/// For the life of this process: one heap for all threads, and buffers that are given back when they are dropped. Unless told,
/// glibc takes them from the heap as soon as one was given back. (mallopt(3), `M_MMAP_THRESHOLD`)
#[cfg(target_env = "gnu")]
#[allow(unsafe_code, reason = "an allocator is told by a call of its library")]
pub fn keep_small() {
    const BUFFER: libc::c_int = 128 << 10;
    // SAFETY: both change numbers of the allocator, under its own lock.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, BUFFER);
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Whole pages that are free, wherever they lie. (malloc_trim(3))
#[cfg(target_env = "gnu")]
#[allow(unsafe_code, reason = "an allocator is told by a call of its library")]
pub fn give_back() {
    // SAFETY: it frees nothing that is in use, and locks the heap meanwhile.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other allocators give back by themselves.
#[cfg(not(target_env = "gnu"))]
pub fn keep_small() {}

#[cfg(not(target_env = "gnu"))]
pub fn give_back() {}
