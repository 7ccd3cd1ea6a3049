/* A next hop that takes all mail, counts it and throws it away: SMTP with STARTTLS, one thread, epoll.
 *
 *   sink --at ADDRESS:PORT [--at ...] --certificate CHAIN --key KEY --counts FILE
 *
 * FILE becomes a `struct counts` that others may map. Ends with SIGTERM.
 */
#define _GNU_SOURCE
#include "peer.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>

#define LINE 4096
#define REPLIES 16384
#define PIECE 65536
#define READS 8 /* in a row from one connection, so that a fast one does not starve the others */

struct counts {
    uint64_t connections, handshakes, resumed, messages, recipients, bytes;
    uint64_t first_ns, last_ns; /* CLOCK_MONOTONIC; first_ns is set when it is 0 */
};

struct connection {
    int fd;
    SSL *tls;
    int handshaking, in_content, closing, tls_next, blocked;
    uint64_t recipients;
    size_t line_size, reply_size, reply_sent;
    char tail[4]; /* the last bytes of content so far */
    char line[LINE];
    char replies[REPLIES];
};

static struct counts *counts;
static SSL_CTX *context;
static int events;

static void say(struct connection *c, const char *text)
{
    size_t size = strlen(text);
    if (c->reply_size + size > REPLIES)
        c->closing = 1; /* it sends commands and never reads */
    else {
        memcpy(c->replies + c->reply_size, text, size);
        c->reply_size += size;
    }
}

static void drop(struct connection *c)
{
    SSL_free(c->tls);
    close(c->fd);
    free(c);
}

static void watch(struct connection *c, uint32_t what, int operation)
{
    struct epoll_event event = {.events = what, .data = {.ptr = c}};
    epoll_ctl(events, operation, c->fd, &event);
}

static void message_done(struct connection *c)
{
    uint64_t now = nanoseconds();
    if (counts->first_ns == 0)
        counts->first_ns = now;
    counts->last_ns = now;
    counts->recipients += c->recipients;
    __atomic_add_fetch(&counts->messages, 1, __ATOMIC_RELEASE);
    c->in_content = 0;
    c->recipients = 0;
    say(c, "250 2.0.0 taken\r\n");
}

static int is(const char *line, const char *verb)
{
    return strncasecmp(line, verb, strlen(verb)) == 0;
}

static void obey(struct connection *c, const char *line)
{
    if (is(line, "EHLO"))
        say(c, c->tls ? "250-sink\r\n250-PIPELINING\r\n250-SIZE 104857600\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n"
                      : "250-sink\r\n250-PIPELINING\r\n250-SIZE 104857600\r\n250-8BITMIME\r\n"
                        "250-SMTPUTF8\r\n250 STARTTLS\r\n");
    else if (is(line, "RCPT TO:")) {
        c->recipients++;
        say(c, "250 2.1.5 ok\r\n");
    } else if (is(line, "MAIL FROM:") || is(line, "RSET")) {
        c->recipients = 0;
        say(c, "250 2.1.0 ok\r\n");
    } else if (is(line, "DATA")) {
        if (c->recipients == 0) {
            say(c, "503 5.5.1 no recipients\r\n");
            return;
        }
        c->in_content = 1;
        memcpy(c->tail, "\0\0\r\n", 4);
        say(c, "354 go ahead\r\n");
    } else if (is(line, "STARTTLS")) {
        say(c, "220 2.0.0 ready\r\n");
        c->tls_next = 1;
    } else if (is(line, "QUIT")) {
        say(c, "221 2.0.0 bye\r\n");
        c->closing = 1;
    } else if (is(line, "HELO") || is(line, "NOOP"))
        say(c, "250 ok\r\n");
    else
        say(c, "500 5.5.2 not known\r\n");
}

/* How many of the bytes belong to the content; sets *ended when its end is among them. */
static size_t content_part(struct connection *c, const char *data, size_t size, int *ended)
{
    char seam[8];
    size_t head = size < 4 ? size : 4;
    memcpy(seam, c->tail, 4);
    memcpy(seam + 4, data, head);
    const char *found = memmem(seam, 4 + head, "\r\n.\r\n", 5);
    if (found != NULL) {
        *ended = 1;
        return (size_t)(found - seam) + 5 - 4;
    }
    found = memmem(data, size, "\r\n.\r\n", 5);
    if (found != NULL) {
        *ended = 1;
        return (size_t)(found - data) + 5;
    }
    memcpy(c->tail, seam + head, 4);
    if (size > 4)
        memcpy(c->tail, data + size - 4, 4);
    return size;
}

static void feed(struct connection *c, const char *data, size_t size)
{
    while (size > 0 && !c->closing) {
        size_t used;
        if (c->in_content) {
            int ended = 0;
            used = content_part(c, data, size, &ended);
            counts->bytes += used;
            if (ended)
                message_done(c);
        } else {
            const char *end = memchr(data, '\n', size);
            used = end == NULL ? size : (size_t)(end - data) + 1;
            if (c->line_size + used >= LINE) {
                c->closing = 1;
                return;
            }
            memcpy(c->line + c->line_size, data, used);
            c->line_size += used;
            if (end != NULL) {
                c->line[c->line_size] = '\0';
                c->line_size = 0;
                obey(c, c->line);
            }
        }
        data += used;
        size -= used;
    }
}

/* GONE when the connection is over, else AGAIN. */
static int flush(struct connection *c)
{
    while (c->reply_sent < c->reply_size) {
        ssize_t sent = put(c->fd, c->tls, c->replies + c->reply_sent, c->reply_size - c->reply_sent);
        if (sent == GONE)
            return GONE;
        if (sent == AGAIN) {
            watch(c, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
            c->blocked = 1;
            return AGAIN;
        }
        c->reply_sent += (size_t)sent;
    }
    if (c->blocked) {
        c->blocked = 0;
        watch(c, EPOLLIN, EPOLL_CTL_MOD);
    }
    c->reply_sent = c->reply_size = 0;
    if (c->closing) {
        if (c->tls != NULL)
            SSL_shutdown(c->tls);
        return GONE;
    }
    if (c->tls_next) {
        c->tls_next = 0;
        c->handshaking = 1;
        c->tls = SSL_new(context);
        SSL_set_fd(c->tls, c->fd);
        SSL_set_accept_state(c->tls);
    }
    return AGAIN;
}

static int shake(struct connection *c)
{
    int done = SSL_do_handshake(c->tls);
    if (done != 1)
        return (int)tls_result(c->tls, done);
    c->handshaking = 0;
    counts->handshakes++;
    counts->resumed += (uint64_t)SSL_session_reused(c->tls);
    return 1;
}

static int serve(struct connection *c)
{
    static char piece[PIECE];
    for (int turn = 0; turn < READS; turn++) {
        if (c->handshaking) {
            int done = shake(c);
            if (done != 1)
                return done;
        }
        ssize_t got = take(c->fd, c->tls, piece, PIECE);
        if (got == GONE)
            return GONE;
        if (got == AGAIN)
            break;
        feed(c, piece, (size_t)got);
        if (c->reply_size > 0 && flush(c) == GONE)
            return GONE;
    }
    /* What TLS has decrypted already raises no event: there must be none left. */
    if (c->tls != NULL && SSL_pending(c->tls) > 0)
        return serve(c);
    return flush(c);
}

static void welcome(int listener)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct connection *c = calloc(1, sizeof *c);
        if (c == NULL)
            fail("out of memory");
        c->fd = fd;
        counts->connections++;
        say(c, "220 sink ESMTP\r\n");
        watch(c, EPOLLIN, EPOLL_CTL_ADD);
        if (flush(c) == GONE)
            drop(c);
    }
}

static int listen_at(char *where)
{
    char *colon = strrchr(where, ':');
    if (colon == NULL)
        fail("write --at ADDRESS:PORT");
    *colon = '\0';
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1))};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (inet_pton(AF_INET, where, &address.sin_addr) != 1 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096))
        fail("can't listen at %s:%s: %s", where, colon + 1, strerror(errno));
    return fd;
}

static void open_counts(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || ftruncate(fd, sizeof *counts))
        fail("can't write %s: %s", path, strerror(errno));
    counts = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (counts == MAP_FAILED)
        fail("can't map %s: %s", path, strerror(errno));
}

static int is_listener(const struct connection *c, const struct connection *listeners, int count)
{
    return c >= listeners && c < listeners + count;
}

int main(int argc, char **argv)
{
    static struct connection listeners[64];
    struct epoll_event ready[256];
    const char *certificate = NULL, *key = NULL, *path = NULL;
    char *places[64];
    int count = 0;
    signal(SIGPIPE, SIG_IGN);
    many_files();
    events = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--at") && count < 64)
            places[count++] = argv[i + 1];
        else if (!strcmp(argv[i], "--certificate"))
            certificate = argv[i + 1];
        else if (!strcmp(argv[i], "--key"))
            key = argv[i + 1];
        else if (!strcmp(argv[i], "--counts"))
            path = argv[i + 1];
        else
            fail("there is no option %s", argv[i]);
    }
    if (count == 0 || certificate == NULL || key == NULL || path == NULL)
        fail("sink --at ADDRESS:PORT --certificate CHAIN --key KEY --counts FILE");
    open_counts(path); /* before it listens: who can connect may read them */
    for (int i = 0; i < count; i++)
        listeners[i].fd = listen_at(places[i]);
    context = tls_context(TLS_server_method());
    if (SSL_CTX_use_certificate_chain_file(context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
        fail("can't use %s with %s", certificate, key);
    for (int i = 0; i < count; i++)
        watch(&listeners[i], EPOLLIN, EPOLL_CTL_ADD);
    for (;;) {
        int found = epoll_wait(events, ready, 256, -1);
        for (int i = 0; i < found; i++) {
            struct connection *c = ready[i].data.ptr;
            if (is_listener(c, listeners, count))
                welcome(c->fd);
            else if (serve(c) == GONE)
                drop(c);
        }
    }
}
