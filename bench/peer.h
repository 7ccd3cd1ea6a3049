/* What load.c and sink.c share: time, failing, sockets that don't wait, a TLS connection over one of them. */
#ifndef PEER_H
#define PEER_H

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define AGAIN 0
#define GONE (-1)

__attribute__((noreturn, format(printf, 1, 2))) static inline void fail(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fputc('\n', stderr);
    exit(2);
}

static inline uint64_t nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline double cpu_seconds(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static inline void *grown(void *memory, size_t size)
{
    void *found = realloc(memory, size);
    if (found == NULL)
        fail("out of memory");
    return found;
}

static inline void many_files(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static inline void does_not_wait(int fd)
{
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/* Bytes moved, AGAIN (0) when the socket has none or takes none now, GONE when the connection is over. */
static inline ssize_t tls_result(SSL *tls, int moved)
{
    if (moved > 0)
        return moved;
    int why = SSL_get_error(tls, moved);
    ERR_clear_error();
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? AGAIN : GONE;
}

static inline ssize_t take(int fd, SSL *tls, char *into, size_t room)
{
    if (tls != NULL)
        return tls_result(tls, SSL_read(tls, into, (int)room));
    ssize_t got = read(fd, into, room);
    if (got > 0)
        return got;
    return got < 0 && (errno == EAGAIN || errno == EINTR) ? AGAIN : GONE;
}

static inline ssize_t put(int fd, SSL *tls, const char *from, size_t size)
{
    if (tls != NULL)
        return tls_result(tls, SSL_write(tls, from, size > 1 << 20 ? 1 << 20 : (int)size));
    ssize_t sent = send(fd, from, size, MSG_NOSIGNAL);
    if (sent > 0)
        return sent;
    return sent < 0 && (errno == EAGAIN || errno == EINTR) ? AGAIN : GONE;
}

static inline SSL_CTX *tls_context(const SSL_METHOD *method)
{
    SSL_CTX *context = SSL_CTX_new(method);
    if (context == NULL)
        fail("OpenSSL gives no context");
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    return context;
}

#endif
