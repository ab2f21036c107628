/*
 * books/tally.c - see books/tally.h: counts that hold across all workers. Plain atomics in one
 * memfd that parent, workers and ledger map; never blocks, takes no lock.
 *
 * The table of sources is open-addressed with a short window: a source lives in one of WINDOW
 * words from its home on. Neighbours (addresses that differ in the last bits only) live on one page:
 * a network's clients cost a page for 64 of them, not one each. Two workers may enter the same new source at the same moment in two
 * words; so the limit is judged by the sum over the window after counting, and what was counted
 * too much is taken back.
 */
#include "books/tally.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/form.h"
#include "books/memory.h"

#define TALLY_MAGIC 0x54616c6c79303100u
#define PAGE 4096u
#define LINE 64
#define GIVE_TRIES 1000
#define WINDOW 16u
#define NEAR_BITS 6 /* neighbours: */
#define NEAR_STRIDE 8u /* words between their homes, so that a window has room for other networks' */
#define COUNT_BITS 20
#define COUNT_MASK ((1ULL << COUNT_BITS) - 1)
#define UNLIMITED 65536u /* sources to plan for where sessions have no limit */

struct tally_head {
	uint64_t magic;
	uint32_t slots, reserved;
	uint64_t key[2];
	_Alignas(LINE) _Atomic uint32_t sessions;
	_Alignas(LINE) _Atomic uint32_t handshakes;
	_Alignas(LINE) _Atomic uint64_t present, full; /* a bit a worker */
	struct {
		_Alignas(LINE) _Atomic uint32_t sessions, beats;
	} load[64];
};

/* The words begin behind it. */
#define HEAD_BYTES ((sizeof(struct tally_head) + PAGE - 1) / PAGE * PAGE)

struct tally {
	struct tally_head *head;
	_Atomic uint64_t *words;
	size_t mapped;
	uint32_t mask;
	uint64_t key[2];
};

int
tally_create(uint32_t sessions)
{
	struct tally_head head = {.magic = TALLY_MAGIC, .slots = 1024};
	uint64_t want = 8 * (uint64_t)(sessions == 0 ? UNLIMITED : sessions);

	while (head.slots < want && head.slots < 1u << 26)
		head.slots <<= 1;
	if (getrandom(head.key, sizeof(head.key), 0) != (ssize_t)sizeof(head.key))
		return -1;
	return memory_create("tally", HEAD_BYTES + head.slots * sizeof(uint64_t), &head, sizeof head);
}

uint64_t
tally_form(void)
{
	const uint64_t sizes[] = {TALLY_MAGIC,
				  PAGE,
				  WINDOW,
				  NEAR_BITS,
				  NEAR_STRIDE,
				  COUNT_BITS,
				  TALLY_PRIMARIES,
				  sizeof(struct tally_head),
				  offsetof(struct tally_head, sessions),
				  offsetof(struct tally_head, present),
				  offsetof(struct tally_head, load)};

	return FORM_OF(sizes);
}

static struct tally *
map(int fd, int protection)
{
	struct tally_head *head;
	struct tally *t = NULL;
	struct stat st;
	uint64_t slots;

	if (fstat(fd, &st) < 0 || st.st_size <= (off_t)HEAD_BYTES)
		return NULL;
	head = mmap(NULL, (size_t)st.st_size, protection, MAP_SHARED, fd, 0);
	if (head == MAP_FAILED)
		return NULL;
	slots = ((uint64_t)st.st_size - HEAD_BYTES) / sizeof(uint64_t);
	if (head->magic == TALLY_MAGIC && head->slots == slots && (slots & (slots - 1)) == 0 &&
	    slots >= WINDOW)
		t = calloc(1, sizeof(*t));
	if (t == NULL) {
		munmap(head, (size_t)st.st_size);
		return NULL;
	}
	t->head = head;
	t->words = (_Atomic uint64_t *)((char *)head + HEAD_BYTES);
	t->mapped = (size_t)st.st_size;
	t->mask = (uint32_t)slots - 1;
	memcpy(t->key, head->key, sizeof(t->key));
	return t;
}

struct tally *
tally_map(int fd)
{
	return map(fd, PROT_READ | PROT_WRITE);
}

struct tally *
tally_view(int fd)
{
	return map(fd, PROT_READ);
}

void
tally_unmap(struct tally *t)
{
	if (t == NULL)
		return;
	munmap(t->head, t->mapped);
	free(t);
}

/* -- one source ----------------------------------------------------------------------------- */

struct place {
	uint32_t home;
	uint64_t print; /* fingerprint, in its place above the count; never 0 */
};

static uint64_t
fold(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t
mix(const struct tally *t, const struct addr *a, uint64_t salt)
{
	uint64_t half[2], h;

	memcpy(half, a->b, sizeof(half));
	h = fold(half[0] ^ t->key[0], half[1] ^ t->key[1]);
	return fold(h ^ t->key[1] ^ salt, t->key[0] | 1);
}

/* Keyed, so that nobody outside can choose sources that share a window. */
static struct place
place_at(const struct tally *t, uint64_t h)
{
	struct place p;

	p.home = (uint32_t)h & t->mask;
	p.print = fold(h ^ t->key[0], 0x9e3779b97f4a7c15u) << COUNT_BITS;
	if (p.print == 0)
		p.print = 1ULL << COUNT_BITS;
	return p;
}

static struct addr
source_of(const struct tally_limits *l, const struct addr *client, unsigned *bits)
{
	*bits = addr_is4(client) ? 96u + (l->prefix4 > 32 ? 32 : l->prefix4)
				 : (l->prefix6 > 128 ? 128 : l->prefix6);
	return addr_mask(client, *bits);
}

/* The last of an address's first bits. */
static uint32_t
near_bits(const struct addr *a, unsigned bits)
{
	unsigned byte = (bits - 1) / 8, right = 7 - (bits - 1) % 8;
	uint32_t two = (uint32_t)(byte > 0 ? a->b[byte - 1] : 0) << 8 | a->b[byte];

	return two >> right & ((1u << NEAR_BITS) - 1);
}

/* Keyed all the same: which networks share a page, and which of their homes stand beside each other. */
static struct place
place_near(const struct tally *t, const struct addr *source, unsigned bits, uint64_t salt)
{
	struct place p = place_at(t, mix(t, source, salt));
	struct addr network;
	uint32_t slot;
	uint64_t h;

	if (bits <= NEAR_BITS)
		return p;
	network = addr_mask(source, bits - NEAR_BITS);
	h = mix(t, &network, salt);
	slot = (near_bits(source, bits) ^ (uint32_t)(h >> 32)) & ((1u << NEAR_BITS) - 1);
	p.home = ((uint32_t)h & ~((NEAR_STRIDE << NEAR_BITS) - 1) & t->mask) + slot * NEAR_STRIDE;
	return p;
}

static struct place
place_of(const struct tally *t, const struct tally_limits *l, const struct addr *client)
{
	unsigned bits;
	struct addr source = source_of(l, client, &bits);

	return place_near(t, &source, bits, bits);
}

static _Atomic uint64_t *
word_at(const struct tally *t, const struct place *p, uint32_t i)
{
	return &t->words[(p->home + i) & t->mask];
}

static uint64_t
load(_Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static bool
is_of(uint64_t value, const struct place *p)
{
	return (value & COUNT_MASK) != 0 && (value & ~COUNT_MASK) == p->print;
}

static uint32_t
source_sum(const struct tally *t, const struct place *p)
{
	uint32_t i, sum = 0;

	for (i = 0; i < WINDOW; i++) {
		uint64_t value = load(word_at(t, p, i));

		if (is_of(value, p))
			sum += (uint32_t)(value & COUNT_MASK);
	}
	return sum;
}

/* One more in the word that already holds the source, 0 if there is none, -1 if it is full. */
static int
source_count_up(struct tally *t, const struct place *p, uint64_t limit)
{
	uint32_t i;

	for (i = 0; i < WINDOW; i++) {
		_Atomic uint64_t *word = word_at(t, p, i);
		uint64_t value = load(word);

		while (is_of(value, p)) {
			if ((value & COUNT_MASK) >= limit)
				return -1;
			if (atomic_compare_exchange_weak_explicit(word, &value, value + 1,
								  memory_order_relaxed,
								  memory_order_relaxed))
				return 1;
		}
	}
	return 0;
}

static bool
source_enter(struct tally *t, const struct place *p)
{
	uint32_t i;

	for (i = 0; i < WINDOW; i++) {
		_Atomic uint64_t *word = word_at(t, p, i);
		uint64_t value = load(word);

		if ((value & COUNT_MASK) == 0 &&
		    atomic_compare_exchange_strong_explicit(
			word, &value, p->print | 1, memory_order_seq_cst, memory_order_relaxed))
			return true;
	}
	return false;
}

static bool
source_count_down(struct tally *t, const struct place *p)
{
	uint32_t i;

	/* backwards, so that a source that stands twice comes together in the first word */
	for (i = WINDOW; i-- > 0;) {
		_Atomic uint64_t *word = word_at(t, p, i);
		uint64_t value = load(word);

		while (is_of(value, p)) {
			uint64_t less = (value & COUNT_MASK) == 1 ? 0 : value - 1;

			if (atomic_compare_exchange_weak_explicit(
				word, &value, less, memory_order_relaxed, memory_order_relaxed))
				return true;
		}
	}
	return false;
}

/*
 * What is given back stands in the window; but while one looks, another may take it from the word that is
 * looked at next and leave its own behind. So look again, and not for ever: the words may be broken.
 */
static void
source_give(struct tally *t, const struct place *p)
{
	for (int tries = 0; tries < GIVE_TRIES && !source_count_down(t, p); tries++)
		;
}

/* Counted also where there is no limit, so that a reload may bring one. */
static bool
source_take(struct tally *t, const struct place *p, uint32_t most)
{
	uint64_t limit = most == 0 || most > COUNT_MASK ? COUNT_MASK : most;
	int counted = source_count_up(t, p, limit);

	if (counted < 0)
		return false;
	if (counted == 0 && !source_enter(t, p)) /* no room in the window: never uncounted */
		return false;
	if (source_sum(t, p) <= limit)
		return true;
	source_give(t, p);
	return false;
}

/* -- all -------------------------------------------------------------------------------------- */

static bool
total_take(_Atomic uint32_t *n, uint32_t limit)
{
	uint32_t before = atomic_fetch_add_explicit(n, 1, memory_order_relaxed);

	if (limit == 0 || before < limit)
		return true;
	atomic_fetch_sub_explicit(n, 1, memory_order_relaxed);
	return false;
}

static void
total_give(_Atomic uint32_t *n)
{
	uint32_t value = atomic_load_explicit(n, memory_order_relaxed);

	/* never below zero, whatever a broken worker's cards say */
	while (value > 0 && !atomic_compare_exchange_weak_explicit(
				n, &value, value - 1, memory_order_relaxed, memory_order_relaxed))
		;
}

enum tally_refusal
tally_take(struct tally *t, const struct tally_limits *l, const struct addr *source)
{
	struct place p = place_of(t, l, source);

	if (!total_take(&t->head->sessions, l->sessions))
		return TALLY_TOTAL;
	if (!total_take(&t->head->handshakes, l->handshakes)) {
		total_give(&t->head->sessions);
		return TALLY_HANDSHAKES;
	}
	if (!source_take(t, &p, l->per_source)) {
		total_give(&t->head->handshakes);
		total_give(&t->head->sessions);
		return TALLY_SOURCE;
	}
	return TALLY_OK;
}

void
tally_handshake_done(struct tally *t)
{
	total_give(&t->head->handshakes);
}

void
tally_give(struct tally *t, const struct tally_limits *l, const struct addr *source, bool handshake)
{
	struct place p = place_of(t, l, source);

	source_give(t, &p);
	if (handshake)
		total_give(&t->head->handshakes);
	total_give(&t->head->sessions);
}

uint32_t
tally_sessions(const struct tally *t)
{
	return atomic_load_explicit(&t->head->sessions, memory_order_relaxed);
}

uint32_t
tally_handshakes(const struct tally *t)
{
	return atomic_load_explicit(&t->head->handshakes, memory_order_relaxed);
}

uint32_t
tally_source(const struct tally *t, const struct tally_limits *l, const struct addr *source)
{
	struct place p = place_of(t, l, source);

	return source_sum(t, &p);
}

/* -- beside the sessions ---------------------------------------------------------------------- */

#define KIND_SHIFT 8 /* above the bits of a prefix */

static struct place
place_beside(const struct tally *t, const struct tally_limits *l, enum tally_kind kind,
	     const struct addr *client, const struct addr *peer)
{
	unsigned bits = 128;
	struct addr source = peer != NULL ? *client : source_of(l, client, &bits);
	uint64_t salt = bits | (uint64_t)kind << KIND_SHIFT;

	return peer != NULL ? place_at(t, mix(t, peer, mix(t, &source, salt)))
			    : place_near(t, &source, bits, salt);
}

bool
tally_beside_take(struct tally *t, const struct tally_limits *l, enum tally_kind kind,
		  const struct addr *client, const struct addr *peer, uint32_t most)
{
	struct place p = place_beside(t, l, kind, client, peer);

	return source_take(t, &p, most);
}

void
tally_beside_give(struct tally *t, const struct tally_limits *l, enum tally_kind kind,
		  const struct addr *client, const struct addr *peer)
{
	struct place p = place_beside(t, l, kind, client, peer);

	source_give(t, &p);
}

uint32_t
tally_beside(const struct tally *t, const struct tally_limits *l, enum tally_kind kind,
	     const struct addr *client, const struct addr *peer)
{
	struct place p = place_beside(t, l, kind, client, peer);

	return source_sum(t, &p);
}

void
tally_give_beside(struct tally *t, const struct tally_limits *l, struct card *c)
{
	for (enum tally_kind kind = TALLY_BINDS; kind <= TALLY_PRIMARIES; kind++)
		if ((c->beside & 1u << kind) != 0)
			tally_beside_give(t, l, kind, &c->source,
					  kind == TALLY_PRIMARIES ? &c->destination : NULL);
	c->beside = 0;
}

void
tally_give_card(struct tally *t, const struct tally_limits *l, struct card *c)
{
	tally_give_beside(t, l, c);
	if ((c->flags & CARD_COUNTED) != 0)
		tally_give(t, l, &c->source, (c->flags & CARD_HANDSHAKE) != 0);
	c->flags &= (uint8_t) ~(CARD_COUNTED | CARD_HANDSHAKE);
}

/* -- the workers ---------------------------------------------------------------------------------
 */

static void
set_bit(_Atomic uint64_t *set, unsigned worker, bool on)
{
	uint64_t bit = 1ULL << (worker & 63);

	if (on)
		atomic_fetch_or(set, bit);
	else
		atomic_fetch_and(set, ~bit);
}

void
tally_present(struct tally *t, unsigned worker, bool present)
{
	set_bit(&t->head->full, worker, false);
	atomic_store(&t->head->load[worker & 63].sessions, 0);
	set_bit(&t->head->present, worker, present);
}

bool
tally_full(struct tally *t, unsigned worker, bool full)
{
	uint64_t others = ~(1ULL << (worker & 63));

	set_bit(&t->head->full, worker, full);
	return (atomic_load(&t->head->present) & ~atomic_load(&t->head->full) & others) != 0;
}

_Atomic uint32_t *
tally_load(struct tally *t, unsigned worker)
{
	return &t->head->load[worker & 63].sessions;
}

_Atomic uint32_t *
tally_beats(struct tally *t, unsigned worker)
{
	return &t->head->load[worker & 63].beats;
}

uint32_t
tally_least(const struct tally *t, unsigned worker)
{
	uint64_t left = atomic_load_explicit(&t->head->present, memory_order_relaxed) &
			~(1ULL << (worker & 63));
	uint32_t least = UINT32_MAX;

	for (; left != 0; left &= left - 1) {
		uint32_t n = atomic_load_explicit(&t->head->load[__builtin_ctzll(left)].sessions,
						  memory_order_relaxed);

		if (n < least)
			least = n;
	}
	return least;
}
