/* SMTP load: many clients with STARTTLS in one thread, epoll. Prints what it saw as one JSON object.
 *
 *   load --to ADDRESS:PORT [--connections N] [--per-connection N] [--messages N] [--seconds S] [--size BYTES]
 *        [--recipients N] [--domains N] [--pipeline 1] [--resume 1] [--tls 0] [--light 1] [--sources N] [--hold N]
 *
 * It ends after --messages or --seconds, whichever comes first (at least one is given). --hold N opens N
 * connections up to the EHLO inside TLS, prints "held" and keeps them until its standard input ends.
 * Recipients are user0@d0.example.test, user1@d1.example.test ..., over --domains domains in turn.
 * --light 1: with the TLS client of light.c, which spares the generator most of a handshake.
 * --sources N: from 127.0.0.1 to 127.0.0.N in turn. Exit status 1 when anything but the expected came.
 */
#define _GNU_SOURCE
#include "light.h"
#include "peer.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>

#define LINE 4096
#define SMALL 65536 /* content up to this size is sent in one piece with its header */
#define MOST_FAILURES 50
#define MOST_ARRIVING 200 /* of the connections to be held, how many may be on their way at once */
#define GREETING "EHLO load.example.test\r\n"

enum step { BANNER, HELLO, STARTTLS, SHAKE, HELLO_AGAIN, HELD, ENVELOPE, CONTENT, LEAVING };

struct client {
    int fd, number, last_code, blocked, connecting;
    enum step step;
    SSL *tls;
    SSL_SESSION *session;
    struct light *light;
    struct ticket ticket;
    unsigned sent_here, expected, command; /* messages on this connection, replies missing, next command */
    uint64_t begun;
    size_t line_size, head_size, head_sent, body_size, body_sent;
    char line[LINE];
    char *head;
};

static struct {
    int connections, per_connection, recipients, domains, pipeline, resume, tls, light, sources, hold;
    uint64_t messages, size;
    double seconds;
} plan = {.connections = 20, .per_connection = 1, .recipients = 1, .domains = 1, .tls = 1, .sources = 1,
          .size = 4096};
static struct sockaddr_in target;
static SSL_CTX *context;
static int events, held, living;
static struct client *clients;
static char *body;
static uint64_t body_all, started, ended, begun, done, failed, connected, shaken, resumed;
static double *latencies;
static size_t latency_room;
static char protocol[128];

static void watch(struct client *c, uint32_t what, int operation)
{
    struct epoll_event event = {.events = what, .data = {.ptr = c}};
    epoll_ctl(events, operation, c->fd, &event);
}

static int more(void)
{
    if (failed > MOST_FAILURES)
        return 0;
    if (plan.messages > 0 && begun >= plan.messages)
        return 0;
    return plan.seconds <= 0 || (double)(nanoseconds() - started) / 1e9 < plan.seconds;
}

static void wrong(const char *what, const char *said)
{
    if (failed++ < 5)
        fprintf(stderr, "load: %s: %.200s\n", what, said);
}

/* --- sending ------------------------------------------------------------------------------------------- */

static ssize_t to_server(struct client *c, const char *from, size_t size)
{
    return c->light != NULL ? light_write(c->light, from, size) : put(c->fd, c->tls, from, size);
}

static ssize_t from_server(struct client *c, char *into, size_t room)
{
    return c->light != NULL ? light_read(c->light, into, room) : take(c->fd, c->tls, into, room);
}

/* GONE when the connection is over, else AGAIN. */
static int push(struct client *c)
{
    for (;;) {
        ssize_t sent;
        if (c->head_sent < c->head_size) {
            sent = to_server(c, c->head + c->head_sent, c->head_size - c->head_sent);
            c->head_sent += sent > 0 ? (size_t)sent : 0;
        } else if (c->body_sent < c->body_size) {
            sent = to_server(c, body + c->body_sent, c->body_size - c->body_sent);
            c->body_sent += sent > 0 ? (size_t)sent : 0;
        } else
            break;
        if (sent == GONE)
            return GONE;
        if (sent == AGAIN) {
            if (!c->blocked)
                watch(c, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
            c->blocked = 1;
            return AGAIN;
        }
    }
    if (c->blocked) {
        c->blocked = 0;
        watch(c, EPOLLIN, EPOLL_CTL_MOD);
    }
    c->head_sent = c->head_size = c->body_sent = c->body_size = 0;
    return AGAIN;
}

__attribute__((format(printf, 2, 3))) static void write_head(struct client *c, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    c->head_size += (size_t)vsprintf(c->head + c->head_size, format, values);
    va_end(values);
}

static void next_command(struct client *c)
{
    unsigned at = c->command++, recipients = (unsigned)plan.recipients;
    c->expected++;
    if (at == 0)
        write_head(c, "MAIL FROM:<sender%d@example.net>\r\n", c->number);
    else if (at <= recipients)
        write_head(c, "RCPT TO:<user%u@d%u.example.test>\r\n", at - 1, (at - 1) % (unsigned)plan.domains);
    else
        write_head(c, "DATA\r\n");
}

static int envelope(struct client *c)
{
    c->step = ENVELOPE;
    c->command = 0;
    do
        next_command(c);
    while (plan.pipeline && c->command < (unsigned)plan.recipients + 2);
    return push(c);
}

static int content(struct client *c)
{
    c->step = CONTENT;
    c->expected = 1;
    write_head(c,
               "Received: from source.example.net by load.example.test; Sat, 14 Feb 2026 19:20:28 +0000\r\n"
               "From: <sender%d@example.net>\r\nTo: <user0@d0.example.test>\r\nSubject: Minutes %llu\r\n"
               "Message-ID: <%llu.%d.%llu@example.net>\r\nDate: Sat, 14 Feb 2026 19:20:28 +0000\r\n\r\n",
               c->number, (unsigned long long)done, (unsigned long long)nanoseconds(), c->number,
               (unsigned long long)begun);
    size_t head = c->head_size;
    /* The body is one for all; what the header takes is left out at its beginning. */
    size_t skip = head < plan.size ? head : plan.size - 2;
    c->body_sent = skip;
    c->body_size = body_all;
    if (body_all <= SMALL) {
        memcpy(c->head + head, body + skip, body_all - skip);
        c->head_size += body_all - skip;
        c->body_sent = c->body_size = 0;
    }
    return push(c);
}

/* --- connections --------------------------------------------------------------------------------------- */

static void open_client(struct client *c)
{
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        fail("no socket: %s", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (plan.sources > 1) {
        struct sockaddr_in from = {.sin_family = AF_INET};
        from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(connected % (uint64_t)plan.sources));
        setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        if (bind(c->fd, (struct sockaddr *)&from, sizeof from))
            fail("can't bind: %s", strerror(errno));
    }
    connected++;
    living++;
    c->step = BANNER;
    c->expected = 1;
    c->sent_here = 0;
    c->blocked = 0;
    c->line_size = c->head_size = c->head_sent = c->body_size = c->body_sent = 0;
    if (plan.per_connection == 1)
        c->begun = nanoseconds(); /* what one message costs begins with its connection */
    if (connect(c->fd, (struct sockaddr *)&target, sizeof target) && errno != EINPROGRESS)
        fail("can't connect: %s", strerror(errno));
    watch(c, EPOLLIN, EPOLL_CTL_ADD);
}

static void close_client(struct client *c, int in_peace)
{
    if (c->tls != NULL) {
        if (in_peace)
            SSL_shutdown(c->tls);
        else
            SSL_set_quiet_shutdown(c->tls, 1);
        SSL_free(c->tls);
        c->tls = NULL;
    }
    if (c->light != NULL) {
        if (in_peace)
            light_close(c->light);
        light_free(c->light);
        c->light = NULL;
    }
    close(c->fd);
    living--;
    if (c->step >= ENVELOPE && c->step <= CONTENT)
        begun--;
    if (!plan.hold && more())
        open_client(c);
}

static int new_session(SSL *tls, SSL_SESSION *session)
{
    struct client *c = SSL_get_app_data(tls);
    SSL_SESSION_free(c->session);
    c->session = session;
    return 1; /* the reference is kept */
}

static void begin_tls(struct client *c)
{
    c->step = SHAKE;
    if (plan.light) {
        c->light = light_new(c->fd, plan.resume ? &c->ticket : NULL);
        return;
    }
    c->tls = SSL_new(context);
    SSL_set_app_data(c->tls, c);
    SSL_set_fd(c->tls, c->fd);
    SSL_set_connect_state(c->tls);
    if (plan.resume && c->session != NULL)
        SSL_set_session(c->tls, c->session);
}

static int hello(struct client *c, enum step step)
{
    c->step = step;
    c->expected = 1;
    write_head(c, GREETING);
    return push(c);
}

/* What was agreed upon, so that it can be seen that all servers were asked for the same work. */
static void describe(SSL *tls)
{
    X509 *certificate = SSL_get1_peer_certificate(tls);
    EVP_PKEY *key = certificate == NULL ? NULL : X509_get0_pubkey(certificate);
    const char *group = SSL_group_to_name(tls, (int)SSL_get_negotiated_group(tls));
    snprintf(protocol, sizeof protocol, "%s %s %s %s-%d", SSL_get_version(tls), SSL_get_cipher_name(tls),
             group == NULL ? "?" : group, key == NULL ? "?" : EVP_PKEY_get0_type_name(key),
             key == NULL ? 0 : EVP_PKEY_get_bits(key));
    X509_free(certificate);
}

static int shake(struct client *c)
{
    int result = c->light != NULL ? light_shake(c->light) : SSL_do_handshake(c->tls);
    if (result != 1)
        return c->light != NULL ? result : (int)tls_result(c->tls, result);
    shaken++;
    resumed += (uint64_t)(c->light != NULL ? light_resumed(c->light) : SSL_session_reused(c->tls));
    if (shaken == 1 && c->light != NULL)
        strcpy(protocol, "TLSv1.3 TLS_AES_256_GCM_SHA384 x25519");
    else if (shaken == 1)
        describe(c->tls);
    return hello(c, HELLO_AGAIN) == GONE ? GONE : 1;
}

static int next_message(struct client *c)
{
    if (plan.hold) {
        c->step = HELD;
        if (++held == plan.hold) {
            puts("held");
            fflush(stdout);
        }
        return AGAIN;
    }
    if (c->sent_here == (unsigned)plan.per_connection || !more()) {
        c->step = LEAVING;
        c->expected = 1;
        write_head(c, "QUIT\r\n");
        return push(c);
    }
    begun++;
    c->sent_here++;
    if (plan.per_connection > 1)
        c->begun = nanoseconds();
    return envelope(c);
}

static void message_done(struct client *c)
{
    ended = nanoseconds();
    if (done == latency_room) {
        latency_room = latency_room ? latency_room * 2 : 65536;
        latencies = grown(latencies, latency_room * sizeof *latencies);
    }
    latencies[done++] = (double)(ended - c->begun) / 1e6;
}

/* --- replies ------------------------------------------------------------------------------------------- */

/* All replies of the step are there; the last had c->last_code. */
static int advance(struct client *c)
{
    switch (c->step) {
    case BANNER:
        return hello(c, HELLO);
    case HELLO:
        if (!plan.tls)
            return next_message(c);
        c->step = STARTTLS;
        c->expected = 1;
        write_head(c, "STARTTLS\r\n");
        return push(c);
    case STARTTLS:
        begin_tls(c);
        return AGAIN;
    case HELLO_AGAIN:
        return next_message(c);
    case ENVELOPE:
        if (c->command == (unsigned)plan.recipients + 2)
            return content(c);
        next_command(c);
        return push(c);
    case CONTENT:
        message_done(c);
        return next_message(c);
    default:
        return GONE;
    }
}

static int reply(struct client *c, const char *line)
{
    int code = atoi(line);
    if (line[0] && line[1] && line[2] && line[3] == '-')
        return AGAIN;
    int last = c->step == ENVELOPE && c->command == (unsigned)plan.recipients + 2 && c->expected == 1;
    if (code / 100 != (last ? 3 : 2)) {
        wrong("refused", line);
        return GONE;
    }
    if (c->expected == 0) {
        wrong("not asked for", line);
        return GONE;
    }
    c->last_code = code;
    return --c->expected == 0 ? advance(c) : AGAIN;
}

static int read_replies(struct client *c)
{
    for (;;) {
        if (c->step == SHAKE) {
            int result = shake(c);
            if (result != 1)
                return result;
        }
        ssize_t got = from_server(c, c->line + c->line_size, LINE - 1 - c->line_size);
        if (got <= 0)
            return (int)got;
        c->line_size += (size_t)got;
        char *at = c->line, *end;
        while ((end = memchr(at, '\n', c->line_size)) != NULL) {
            *end = '\0';
            c->line_size -= (size_t)(end + 1 - at);
            if (reply(c, at) == GONE)
                return GONE;
            at = end + 1;
        }
        memmove(c->line, at, c->line_size);
    }
}

static void handle(struct client *c, uint32_t what)
{
    int state = what & EPOLLOUT && c->step != SHAKE ? push(c) : AGAIN;
    if (state != GONE)
        state = read_replies(c);
    if (state != GONE)
        return;
    if (c->step != LEAVING)
        wrong("connection lost", c->step == SHAKE ? "in the handshake" : "");
    close_client(c, c->step == LEAVING);
}

/* --- the whole ----------------------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile(double part)
{
    return done == 0 ? 0 : latencies[(size_t)(part * (double)(done - 1))];
}

static void report(void)
{
    double seconds = done ? (double)(ended - started) / 1e9 : 0;
    qsort(latencies, done, sizeof *latencies, ascending);
    printf("{\"messages\": %llu, \"failed\": %llu, \"connections\": %llu, \"handshakes\": %llu, "
           "\"resumed\": %llu, \"protocol\": \"%s\", \"seconds\": %.6f, \"rate\": %.3f, \"cpu_seconds\": %.6f, "
           "\"started\": %.9f, \"ended\": %.9f, "
           "\"latency_ms\": {\"p50\": %.3f, \"p95\": %.3f, \"p99\": %.3f, \"max\": %.3f}}\n",
           (unsigned long long)done, (unsigned long long)failed, (unsigned long long)connected,
           (unsigned long long)shaken, (unsigned long long)resumed, protocol, seconds,
           seconds > 0 ? (double)done / seconds : 0, cpu_seconds(), (double)started / 1e9, (double)ended / 1e9,
           percentile(.5), percentile(.95), percentile(.99), percentile(1));
}

static void read_option(const char *name, char *value)
{
    const struct {
        const char *name;
        int *value;
    } numbers[] = {{"--connections", &plan.connections}, {"--per-connection", &plan.per_connection},
                   {"--recipients", &plan.recipients},   {"--domains", &plan.domains},
                   {"--pipeline", &plan.pipeline},       {"--resume", &plan.resume},
                   {"--tls", &plan.tls},                 {"--light", &plan.light},
                   {"--sources", &plan.sources},         {"--hold", &plan.hold}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!strcmp(name, numbers[i].name)) {
            *numbers[i].value = atoi(value);
            return;
        }
    if (!strcmp(name, "--messages"))
        plan.messages = strtoull(value, NULL, 10);
    else if (!strcmp(name, "--size"))
        plan.size = strtoull(value, NULL, 10);
    else if (!strcmp(name, "--seconds"))
        plan.seconds = atof(value);
    else if (!strcmp(name, "--to") && strchr(value, ':') != NULL) {
        char *colon = strchr(value, ':');
        *colon = '\0';
        target.sin_family = AF_INET;
        target.sin_port = htons((uint16_t)atoi(colon + 1));
        if (inet_pton(AF_INET, value, &target.sin_addr) != 1)
            fail("%s is not an IPv4 address", value);
    } else
        fail("there is no option %s", name);
}

static void make_body(void)
{
    static const char line[] = "What was said is written here in lines as long as people write them, so far.\r\n";
    if (plan.size < 512)
        plan.size = 512;
    body = grown(NULL, plan.size + 8);
    for (uint64_t at = 0; at < plan.size; at++)
        body[at] = line[at % (sizeof line - 1)];
    memcpy(body + plan.size - 2, "\r\n.\r\n", 5);
    body_all = plan.size + 3;
}

static int hold_until_told(void)
{
    char byte;
    return plan.hold && held == plan.hold && read(STDIN_FILENO, &byte, 1) != 1;
}

static int may_open(int opened)
{
    if (opened >= plan.connections)
        return 0;
    return plan.hold ? opened - held < MOST_ARRIVING : opened == 0 || more();
}

static void run(void)
{
    struct epoll_event ready[256];
    int opened = 0;
    started = nanoseconds();
    for (;;) {
        /* A few at a time: when the queue of new connections overflows, TCP waits for seconds. */
        for (int i = 0; i < 64 && may_open(opened); i++)
            open_client(&clients[opened++]);
        if (living == 0 || hold_until_told())
            return;
        int found = epoll_wait(events, ready, 256, opened < plan.connections ? 1 : 10000);
        if (found == 0 && opened == plan.connections && !(plan.hold && held == plan.hold)) {
            wrong("nothing came for 10 seconds", "giving up");
            return;
        }
        for (int i = 0; i < found; i++)
            handle(ready[i].data.ptr, ready[i].events);
        if (failed > MOST_FAILURES)
            return;
    }
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    many_files();
    for (int i = 1; i < argc; i += 2)
        read_option(argv[i], i + 1 < argc ? argv[i + 1] : "");
    if (target.sin_port == 0 || (plan.messages == 0 && plan.seconds <= 0 && plan.hold == 0))
        fail("load --to ADDRESS:PORT with --messages, --seconds or --hold");
    if (plan.hold)
        plan.connections = plan.hold;
    make_body();
    events = epoll_create1(EPOLL_CLOEXEC);
    context = tls_context(TLS_client_method());
    if (plan.resume) {
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
        SSL_CTX_sess_set_new_cb(context, new_session);
    }
    clients = calloc((size_t)plan.connections, sizeof *clients);
    for (int i = 0; i < plan.connections; i++) {
        clients[i].number = i;
        clients[i].head = grown(NULL, SMALL + 4096 + 64 * (size_t)plan.recipients);
    }
    run();
    report();
    return failed > 0 || (!plan.hold && done == 0);
}
