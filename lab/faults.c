/* Preloaded into a process (LD_PRELOAD), makes its disk fail and its clock jump while it runs.
 *
 * The file named by FAULTS_FILE says what happens, in one line, and may change at any time:
 *     ERRNO PATH     writing, syncing, creating, renaming and removing below PATH fails with this errno; 0: nothing
 * The file named by CLOCK_FILE holds the seconds by which the wall clock is off, as text.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static int raw_read(const char *name, char *buffer, int size)
{
    const char *path = getenv(name);
    if (!path)
        return 0;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    long got = syscall(SYS_read, fd, buffer, size - 1);
    syscall(SYS_close, fd);
    if (got <= 0)
        return 0;
    buffer[got] = 0;
    return 1;
}

/* The errno with which this path fails now, 0 when it does not. */
static int fault(const char *path)
{
    char line[PATH_MAX + 16], where[PATH_MAX];
    int number;
    if (!raw_read("FAULTS_FILE", line, sizeof line) || sscanf(line, "%d %4000s", &number, where) != 2)
        return 0;
    return number && !strncmp(path, where, strlen(where)) ? number : 0;
}

static int fault_fd(int fd)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0 || path[0] != '/')
        return 0;
    path[length] = 0;
    return fault(path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAIL(number) do { int n_ = (number); if (n_) { errno = n_; return -1; } } while (0)

ssize_t write(int fd, const void *data, size_t size)
{
    static __typeof__(&write) real;
    if (!real) real = REAL(write);
    if (fd > 2) FAIL(fault_fd(fd));
    return real(fd, data, size);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    static __typeof__(&pwrite64) real;
    if (!real) real = REAL(pwrite64);
    FAIL(fault_fd(fd));
    return real(fd, data, size, at);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return pwrite64(fd, data, size, at); }

int fsync(int fd)
{
    static __typeof__(&fsync) real;
    if (!real) real = REAL(fsync);
    FAIL(fault_fd(fd));
    return real(fd);
}

int fdatasync(int fd)
{
    static __typeof__(&fdatasync) real;
    if (!real) real = REAL(fdatasync);
    FAIL(fault_fd(fd));
    return real(fd);
}

int ftruncate64(int fd, off64_t size)
{
    static __typeof__(&ftruncate64) real;
    if (!real) real = REAL(ftruncate64);
    FAIL(fault_fd(fd));
    return real(fd, size);
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

int rename(const char *from, const char *to)
{
    static __typeof__(&rename) real;
    if (!real) real = REAL(rename);
    FAIL(fault(to));
    return real(from, to);
}

int unlink(const char *path)
{
    static __typeof__(&unlink) real;
    if (!real) real = REAL(unlink);
    FAIL(fault(path));
    return real(path);
}

static int opened(const char *name, const char *path, int flags, mode_t mode)
{
    if (flags & O_CREAT || (flags & O_ACCMODE) != O_RDONLY)
        FAIL(fault(path));
    return ((int (*)(const char *, int, ...))dlsym(RTLD_NEXT, name))(path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    return opened("open", path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    return opened("open64", path, flags, mode);
}

/* --- the clock ---------------------------------------------------------------------------------------- */

static long long offset(void)
{
    char text[64];
    return raw_read("CLOCK_FILE", text, sizeof text) ? atoll(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    static __typeof__(&clock_gettime) real;
    if (!real) real = REAL(clock_gettime);
    int result = real(clock, now);
    if (!result && clock == CLOCK_REALTIME)
        now->tv_sec += offset();
    return result;
}

int gettimeofday(struct timeval *now, void *zone)
{
    struct timespec exact;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *kept)
{
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (kept) *kept = exact.tv_sec;
    return exact.tv_sec;
}
