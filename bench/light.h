/* A TLS 1.3 client (RFC 8446) that does for the server all that a real one does and for itself as little as can
 * be: one key share for all connections, nothing verified, one cipher suite. For load only, never for secrets.
 *
 * OpenSSL 3.0's own client needs about as much of a core for a handshake as the servers that are measured.
 */
#ifndef LIGHT_H
#define LIGHT_H

#include <stddef.h>
#include <sys/types.h>

struct light;

/* What a server gave for resumption; all zero: nothing yet. */
struct ticket {
    size_t size; /* 0: none */
    unsigned age_add;
    unsigned long long received_ms;
    unsigned char psk[48];
    unsigned char bytes[2048];
};

/* A client on a connected socket. With `ticket` it offers what is in it, and keeps there what the server gives. */
struct light *light_new(int fd, struct ticket *ticket);
void light_free(struct light *light);

/* 1 when the handshake is done, AGAIN or GONE. */
int light_shake(struct light *light);
int light_resumed(const struct light *light);

/* As read(2) and write(2): bytes, AGAIN or GONE. */
ssize_t light_read(struct light *light, char *into, size_t room);
ssize_t light_write(struct light *light, const char *from, size_t size);

/* Sends close_notify. */
void light_close(struct light *light);

#endif
