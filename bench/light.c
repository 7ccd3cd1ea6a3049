/* See light.h. TLS_AES_256_GCM_SHA384 over X25519 only; the hello lists what OpenSSL's client lists. */
#define OPENSSL_SUPPRESS_DEPRECATED /* SHA384 by its own functions: those of EVP cost a look-up each time */
#include "light.h"

#include "peer.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#define HASH 48
#define KEY 32
#define IV 12
#define TAG 16
#define HEAD 5
#define RECORD (16384 + 256)
#define FLIGHT 65536 /* the most that a server's handshake may have */

enum { CHANGE_CIPHER_SPEC = 20, ALERT, HANDSHAKE, DATA };
enum { SERVER_HELLO = 2, NEW_SESSION_TICKET = 4, FINISHED = 20 };

struct direction {
    EVP_CIPHER_CTX *cipher;
    unsigned char iv[IV];
    uint64_t number;
    int on;
};

struct light {
    int fd, hello_sent, done, resumed, over;
    struct ticket *ticket;
    SHA512_CTX transcript;
    unsigned char early[HASH], client_secret[HASH], server_secret[HASH], master[HASH], resumption[HASH];
    struct direction in, out;
    size_t in_size, plain_at, plain_size, flight_size, out_size, out_sent;
    size_t taken; /* of the caller's bytes, how many are in the record that is on its way */
    unsigned char buffer[HEAD + RECORD], plain[RECORD], pending[HEAD + RECORD], flight[FLIGHT];
};

static EVP_PKEY *share;
static EVP_CIPHER *aes;
static unsigned char public_share[32], empty_hash[HASH], no_psk_early[HASH];

/* --- key schedule, RFC 8446 §7.1 ------------------------------------------------------------------------ */

static void hmac(const unsigned char *key, size_t key_size, const void *a, size_t a_size, const void *b,
                 size_t b_size, unsigned char *result)
{
    SHA512_CTX hash;
    unsigned char pad[SHA512_CBLOCK];
    memset(pad, 0x36, sizeof pad);
    for (size_t i = 0; i < key_size; i++)
        pad[i] ^= key[i];
    SHA384_Init(&hash);
    SHA384_Update(&hash, pad, sizeof pad);
    SHA384_Update(&hash, a, a_size);
    SHA384_Update(&hash, b, b_size);
    SHA384_Final(result, &hash);
    for (size_t i = 0; i < sizeof pad; i++)
        pad[i] ^= 0x36 ^ 0x5c;
    SHA384_Init(&hash);
    SHA384_Update(&hash, pad, sizeof pad);
    SHA384_Update(&hash, result, HASH);
    SHA384_Final(result, &hash);
}

/* HKDF-Expand-Label for results of at most one hash. */
static void expand(const unsigned char *secret, const char *label, const unsigned char *value, size_t value_size,
                   unsigned char *result, size_t size)
{
    unsigned char info[64 + 256], whole[HASH];
    size_t at = 0, label_size = strlen(label);
    info[at++] = 0;
    info[at++] = (unsigned char)size;
    info[at++] = (unsigned char)(6 + label_size);
    memcpy(info + at, "tls13 ", 6);
    memcpy(info + at + 6, label, label_size);
    at += 6 + label_size;
    info[at++] = (unsigned char)value_size;
    memcpy(info + at, value, value_size);
    at += value_size;
    hmac(secret, HASH, info, at, "\1", 1, whole);
    memcpy(result, whole, size);
}

static void hash_so_far(const struct light *l, unsigned char *result)
{
    SHA512_CTX copy = l->transcript;
    SHA384_Final(result, &copy);
}

static void next_secret(const unsigned char *before, const unsigned char *input, size_t size, unsigned char *result)
{
    unsigned char derived[HASH];
    expand(before, "derived", empty_hash, HASH, derived, HASH);
    hmac(derived, HASH, input, size, "", 0, result);
}

static void use_secret(struct direction *way, const unsigned char *secret, int sending)
{
    unsigned char key[KEY];
    expand(secret, "key", NULL, 0, key, KEY);
    expand(secret, "iv", NULL, 0, way->iv, IV);
    if (way->cipher == NULL)
        way->cipher = EVP_CIPHER_CTX_new();
    EVP_CipherInit_ex2(way->cipher, aes, key, NULL, sending, NULL);
    way->number = 0;
    way->on = 1;
}

static void prepare(void)
{
    unsigned char zero[HASH] = {0};
    size_t size = sizeof public_share;
    share = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
    aes = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    if (share == NULL || aes == NULL || EVP_PKEY_get_raw_public_key(share, public_share, &size) != 1)
        fail("OpenSSL gives no X25519 or AES");
    SHA384((const unsigned char *)"", 0, empty_hash);
    hmac(zero, HASH, zero, HASH, "", 0, no_psk_early);
}

/* --- records, §5 ---------------------------------------------------------------------------------------- */

static void nonce_of(struct direction *way, unsigned char *nonce)
{
    memcpy(nonce, way->iv, IV);
    for (int i = 0; i < 8; i++)
        nonce[IV - 1 - i] ^= (unsigned char)(way->number >> (8 * i));
    way->number++;
}

/* Adds a record to what is to be sent. The caller sees to it that there is room. */
static void add_record(struct light *l, int type, const void *content, size_t size)
{
    unsigned char *at = l->pending + l->out_size, nonce[IV];
    size_t whole = l->out.on && type != CHANGE_CIPHER_SPEC ? size + 1 + TAG : size;
    int made;
    at[0] = (unsigned char)type;
    at[1] = 3;
    at[2] = 3;
    at[3] = (unsigned char)(whole >> 8);
    at[4] = (unsigned char)whole;
    l->out_size += HEAD + whole;
    if (whole == size) {
        memcpy(at + HEAD, content, size);
        return;
    }
    at[0] = DATA;
    unsigned char inner = (unsigned char)type;
    nonce_of(&l->out, nonce);
    EVP_CipherInit_ex2(l->out.cipher, NULL, NULL, nonce, 1, NULL);
    EVP_EncryptUpdate(l->out.cipher, NULL, &made, at, HEAD);
    EVP_EncryptUpdate(l->out.cipher, at + HEAD, &made, content, (int)size);
    EVP_EncryptUpdate(l->out.cipher, at + HEAD + size, &made, &inner, 1);
    EVP_EncryptFinal_ex(l->out.cipher, at + HEAD + size + 1, &made);
    EVP_CIPHER_CTX_ctrl(l->out.cipher, EVP_CTRL_GCM_GET_TAG, TAG, at + HEAD + size + 1);
}

static ssize_t flush(struct light *l)
{
    while (l->out_sent < l->out_size) {
        ssize_t sent = put(l->fd, NULL, (char *)l->pending + l->out_sent, l->out_size - l->out_sent);
        if (sent <= 0)
            return sent;
        l->out_sent += (size_t)sent;
    }
    l->out_sent = l->out_size = 0;
    return 1;
}

/* Opens one record into l->plain; gives its type, 0 when it is not whole yet, GONE when it is not good. */
static int open_record(struct light *l)
{
    if (l->in_size < HEAD)
        return 0;
    unsigned char *record = l->buffer, nonce[IV];
    size_t size = (size_t)record[3] << 8 | record[4];
    int type = record[0], made, rest;
    if (size > RECORD)
        return GONE;
    if (l->in_size < HEAD + size)
        return 0;
    if (type == DATA && l->in.on) {
        if (size < TAG + 1)
            return GONE;
        nonce_of(&l->in, nonce);
        EVP_CipherInit_ex2(l->in.cipher, NULL, NULL, nonce, 0, NULL);
        EVP_CIPHER_CTX_ctrl(l->in.cipher, EVP_CTRL_GCM_SET_TAG, TAG, record + HEAD + size - TAG);
        EVP_DecryptUpdate(l->in.cipher, NULL, &made, record, HEAD);
        EVP_DecryptUpdate(l->in.cipher, l->plain, &made, record + HEAD, (int)(size - TAG));
        if (EVP_DecryptFinal_ex(l->in.cipher, l->plain + made, &rest) != 1)
            return GONE;
        while (made > 0 && l->plain[made - 1] == 0)
            made--;
        if (made == 0)
            return GONE;
        type = l->plain[made - 1];
        l->plain_size = (size_t)made - 1;
    } else {
        memcpy(l->plain, record + HEAD, size);
        l->plain_size = size;
    }
    l->plain_at = 0;
    l->in_size -= HEAD + size;
    memmove(l->buffer, record + HEAD + size, l->in_size);
    return type;
}

/* --- hello ---------------------------------------------------------------------------------------------- */

struct writer {
    unsigned char *at;
};

static void w8(struct writer *w, unsigned value)
{
    *w->at++ = (unsigned char)value;
}

static void w16(struct writer *w, unsigned value)
{
    w8(w, value >> 8);
    w8(w, value);
}

static void wbytes(struct writer *w, const void *bytes, size_t size)
{
    memcpy(w->at, bytes, size);
    w->at += size;
}

static void wlist(struct writer *w, const unsigned short *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        w16(w, values[i]);
}

static const unsigned short suites[] = {0x1302, 0x1303, 0x1301, 0xc02c, 0xc030, 0x009f, 0xcca9, 0xcca8,
                                        0xccaa, 0xc02b, 0xc02f, 0x009e, 0xc024, 0xc028, 0x006b, 0xc023,
                                        0xc027, 0x0067, 0xc00a, 0xc014, 0x0039, 0xc009, 0xc013, 0x0033,
                                        0x009d, 0x009c, 0x003d, 0x003c, 0x0035, 0x002f, 0x00ff};
static const unsigned short groups[] = {0x001d, 0x0017, 0x001e, 0x0019, 0x0018};
static const unsigned short signatures[] = {0x0403, 0x0503, 0x0603, 0x0807, 0x0808, 0x0809, 0x080a,
                                            0x080b, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601};

static void write_extensions(struct writer *w)
{
    w16(w, 11), w16(w, 4), w8(w, 3), w8(w, 0), w8(w, 1), w8(w, 2); /* ec_point_formats */
    w16(w, 10), w16(w, sizeof groups + 2), w16(w, sizeof groups), wlist(w, groups, sizeof groups / 2);
    w16(w, 35), w16(w, 0); /* session_ticket */
    w16(w, 22), w16(w, 0); /* encrypt_then_mac */
    w16(w, 23), w16(w, 0); /* extended_master_secret */
    w16(w, 13), w16(w, sizeof signatures + 2), w16(w, sizeof signatures);
    wlist(w, signatures, sizeof signatures / 2);
    w16(w, 43), w16(w, 5), w8(w, 4), w16(w, 0x0304), w16(w, 0x0303); /* supported_versions */
    w16(w, 45), w16(w, 2), w8(w, 1), w8(w, 1);                       /* psk_key_exchange_modes: psk_dhe_ke */
    w16(w, 51), w16(w, 38), w16(w, 36), w16(w, 0x001d), w16(w, 32);  /* key_share */
    wbytes(w, public_share, sizeof public_share);
}

/* The offer of a ticket, which is last (§4.2.11), up to the binder that is still missing. */
static void write_ticket(struct writer *w, const struct ticket *ticket)
{
    unsigned identities = (unsigned)ticket->size + 6, binders = 1 + HASH;
    unsigned age = (unsigned)(nanoseconds() / 1000000 - ticket->received_ms) + ticket->age_add;
    w16(w, 41), w16(w, 2 + identities + 2 + binders), w16(w, identities), w16(w, (unsigned)ticket->size);
    wbytes(w, ticket->bytes, ticket->size);
    w16(w, age >> 16), w16(w, age & 0xffff);
}

static void send_hello(struct light *l)
{
    unsigned char hello[4096], binder_key[HASH], finished[HASH], hash[HASH], random[64];
    struct writer w = {hello + 4};
    int offers = l->ticket != NULL && l->ticket->size > 0;
    RAND_bytes(random, sizeof random);
    w16(&w, 0x0303);
    wbytes(&w, random, 32);
    w8(&w, 32), wbytes(&w, random + 32, 32); /* a session id, as §D.4 wants it */
    w16(&w, sizeof suites), wlist(&w, suites, sizeof suites / 2), w8(&w, 1), w8(&w, 0);
    unsigned char *length = w.at;
    w16(&w, 0);
    write_extensions(&w);
    if (offers)
        write_ticket(&w, l->ticket);
    size_t binders = offers ? 2 + 1 + HASH : 0, size = (size_t)(w.at - hello) + binders;
    size_t extensions = (size_t)(w.at - length) - 2 + binders;
    length[0] = (unsigned char)(extensions >> 8), length[1] = (unsigned char)extensions;
    hello[0] = 1, hello[1] = 0, hello[2] = (unsigned char)((size - 4) >> 8), hello[3] = (unsigned char)(size - 4);
    memcpy(l->early, no_psk_early, HASH);
    if (offers) {
        unsigned char zero[HASH] = {0};
        hmac(zero, HASH, l->ticket->psk, HASH, "", 0, l->early);
        expand(l->early, "res binder", empty_hash, HASH, binder_key, HASH);
        expand(binder_key, "finished", NULL, 0, finished, HASH);
        SHA384(hello, (size_t)(w.at - hello), hash);
        w16(&w, 1 + HASH), w8(&w, HASH);
        hmac(finished, HASH, hash, HASH, "", 0, w.at);
        w.at += HASH;
    }
    SHA384_Update(&l->transcript, hello, size);
    add_record(l, HANDSHAKE, hello, size);
    l->hello_sent = 1;
}

/* --- the server's answers ------------------------------------------------------------------------------- */

static int agree(const unsigned char *theirs, unsigned char *secret)
{
    size_t size = 32;
    EVP_PKEY *peer = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, theirs, 32);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(share, NULL);
    int good = peer != NULL && EVP_PKEY_derive_init(context) == 1 &&
               EVP_PKEY_derive_set_peer_ex(context, peer, 0) == 1 &&
               EVP_PKEY_derive(context, secret, &size) == 1;
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(peer);
    return good;
}

static int on_server_hello(struct light *l, const unsigned char *body, size_t size)
{
    unsigned char secret[32], handshake[HASH], hash[HASH];
    const unsigned char *at = body + 2 + 32, *end = body + size, *theirs = NULL;
    at += 1 + *at;
    if (at + 5 > end || at[0] != 0x13 || at[1] != 0x02)
        return GONE; /* another suite than the first that was offered */
    at += 5;
    for (; at + 4 <= end; at += 4 + ((size_t)at[2] << 8 | at[3])) {
        unsigned type = (unsigned)at[0] << 8 | at[1];
        if (type == 51 && at[5] == 0x1d && at + 8 + 32 <= end)
            theirs = at + 8;
        else if (type == 41)
            l->resumed = 1;
    }
    if (theirs == NULL || !agree(theirs, secret))
        return GONE; /* no key share: another group is wanted, or it is TLS 1.2 */
    if (!l->resumed)
        memcpy(l->early, no_psk_early, HASH);
    next_secret(l->early, secret, sizeof secret, handshake);
    hash_so_far(l, hash);
    expand(handshake, "c hs traffic", hash, HASH, l->client_secret, HASH);
    expand(handshake, "s hs traffic", hash, HASH, l->server_secret, HASH);
    unsigned char zero[HASH] = {0};
    next_secret(handshake, zero, HASH, l->master);
    use_secret(&l->in, l->server_secret, 0);
    return 1;
}

static int on_finished(struct light *l)
{
    unsigned char hash[HASH], key[HASH], message[4 + HASH] = {FINISHED, 0, 0, HASH};
    unsigned char ours[HASH], theirs[HASH];
    hash_so_far(l, hash);
    expand(l->master, "c ap traffic", hash, HASH, ours, HASH);
    expand(l->master, "s ap traffic", hash, HASH, theirs, HASH);
    add_record(l, CHANGE_CIPHER_SPEC, "\1", 1);
    use_secret(&l->out, l->client_secret, 1);
    expand(l->client_secret, "finished", NULL, 0, key, HASH);
    hmac(key, HASH, hash, HASH, "", 0, message + 4);
    add_record(l, HANDSHAKE, message, sizeof message);
    SHA384_Update(&l->transcript, message, sizeof message);
    hash_so_far(l, hash);
    expand(l->master, "res master", hash, HASH, l->resumption, HASH);
    use_secret(&l->out, ours, 1);
    use_secret(&l->in, theirs, 0);
    l->done = 1;
    return 1;
}

static void on_ticket(struct light *l, const unsigned char *body, size_t size)
{
    if (l->ticket == NULL || size < 9)
        return;
    size_t nonce = body[8], at = 9 + nonce;
    if (at + 2 > size)
        return;
    size_t length = (size_t)body[at] << 8 | body[at + 1];
    if (at + 2 + length > size || length > sizeof l->ticket->bytes)
        return;
    memcpy(l->ticket->bytes, body + at + 2, length);
    l->ticket->size = length;
    l->ticket->age_add = (unsigned)body[4] << 24 | (unsigned)body[5] << 16 | (unsigned)body[6] << 8 | body[7];
    l->ticket->received_ms = nanoseconds() / 1000000;
    expand(l->resumption, "resumption", body + 9, nonce, l->ticket->psk, HASH);
}

/* All whole handshake messages that have come. */
static int on_handshake(struct light *l)
{
    if (l->flight_size + l->plain_size > FLIGHT)
        return GONE;
    memcpy(l->flight + l->flight_size, l->plain, l->plain_size);
    l->flight_size += l->plain_size;
    l->plain_size = 0;
    unsigned char *at = l->flight;
    int good = 1;
    while (good == 1 && l->flight_size >= 4) {
        size_t size = 4 + ((size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3]);
        if (l->flight_size < size)
            break;
        if (!l->done)
            SHA384_Update(&l->transcript, at, size);
        if (at[0] == SERVER_HELLO && !l->in.on)
            good = on_server_hello(l, at + 4, size - 4);
        else if (at[0] == FINISHED && !l->done)
            good = on_finished(l);
        else if (at[0] == NEW_SESSION_TICKET && l->done)
            on_ticket(l, at + 4, size - 4);
        at += size;
        l->flight_size -= size;
    }
    memmove(l->flight, at, l->flight_size);
    return good;
}

/* Reads until there are data or nothing is left: DATA, AGAIN or GONE. Ends also when the handshake is done. */
static int advance(struct light *l)
{
    for (;;) {
        int type = open_record(l), was_done = l->done;
        if (type == GONE || type == ALERT)
            return GONE;
        if (type == DATA && l->done && l->plain_size > 0)
            return DATA;
        if (type == HANDSHAKE && on_handshake(l) == GONE)
            return GONE;
        if (type != 0 && type != DATA)
            l->plain_size = l->plain_at = 0;
        if (l->done && !was_done)
            return AGAIN;
        if (type != 0)
            continue;
        ssize_t got = take(l->fd, NULL, (char *)l->buffer + l->in_size, sizeof l->buffer - l->in_size);
        if (got <= 0)
            return (int)got;
        l->in_size += (size_t)got;
    }
}

/* --- outside -------------------------------------------------------------------------------------------- */

struct light *light_new(int fd, struct ticket *ticket)
{
    if (share == NULL)
        prepare();
    struct light *l = malloc(sizeof *l);
    if (l == NULL)
        fail("out of memory");
    memset(l, 0, offsetof(struct light, buffer));
    l->fd = fd;
    l->ticket = ticket;
    SHA384_Init(&l->transcript);
    return l;
}

void light_free(struct light *l)
{
    EVP_CIPHER_CTX_free(l->in.cipher);
    EVP_CIPHER_CTX_free(l->out.cipher);
    free(l);
}

int light_shake(struct light *l)
{
    if (!l->hello_sent)
        send_hello(l);
    if (flush(l) == GONE)
        return GONE;
    if (!l->done && advance(l) == GONE)
        return GONE;
    if (!l->done)
        return AGAIN;
    return flush(l) == GONE ? GONE : 1;
}

int light_resumed(const struct light *l)
{
    return l->resumed;
}

ssize_t light_read(struct light *l, char *into, size_t room)
{
    if (l->plain_at == l->plain_size) {
        int got = advance(l);
        if (got != DATA)
            return got;
    }
    size_t size = l->plain_size - l->plain_at;
    size = size < room ? size : room;
    memcpy(into, l->plain + l->plain_at, size);
    l->plain_at += size;
    return (ssize_t)size;
}

ssize_t light_write(struct light *l, const char *from, size_t size)
{
    ssize_t sent = flush(l);
    if (sent <= 0)
        return sent;
    if (l->taken == 0) {
        l->taken = size < 16384 ? size : 16384;
        add_record(l, DATA, from, l->taken);
        sent = flush(l);
        if (sent <= 0)
            return sent;
    }
    sent = (ssize_t)l->taken;
    l->taken = 0;
    return sent;
}

void light_close(struct light *l)
{
    if (l->out_size == 0 && l->done) {
        add_record(l, ALERT, "\1\0", 2);
        flush(l);
    }
}
