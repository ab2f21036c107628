/*
 * books/books.c - see books/books.h: one worker's cards, its ring of events and the way back for
 * free cards, in one memfd. Mapped by the worker (producer) and the ledger (consumer), made by
 * the parent. Never blocks, takes no lock.
 *
 * Neither side believes the other: all bounds are taken from the size of the memfd when it is
 * mapped and kept in private memory, and an index is checked before it is used. The memfd cannot
 * be resized (sealed), so a broken worker cannot take pages away under the ledger.
 */
#include "books/books.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/form.h"
#include "books/memory.h"

#define BOOKS_MAGIC 0x426f6f6b73303100u
#define PAGE 4096u
#define LINE 64
#define LONG_STRING 256u
#define CARD_STRINGS 3u
#define MOST_CARDS (1u << 24)

/*
 * A slot of the ring: which card, which event, and the lap, so that one store publishes a slot
 * and no common head is needed: a slot is new when its lap bit is the one of this lap.
 */
#define SLOT_LAP 0x80000000u
#define SLOT_EVENT_SHIFT 24
#define SLOT_EVENT_MASK 0x7fu
#define SLOT_CARD_MASK 0x00ffffffu

/* Page 0; what is written while running is one cache line a writer. */
struct books_head {
	uint64_t magic;
	uint32_t worker, generation, capacity, ring_size;
	uint32_t serial_seed;
	uint32_t reserved;
	int64_t born_ms;
	/* the worker's line */
	_Alignas(LINE) _Atomic uint32_t used; /* cards below this were taken at least once */
	/* the ledger's line */
	_Alignas(LINE) _Atomic uint64_t tail; /* events written for good */
	_Atomic uint64_t given;               /* cards given back, ever */
	_Atomic uint64_t kept;                /* events heard and kept, if beyond tail */
	_Atomic uint32_t buried;              /* the worker is dead and all is told */
	/* the ledger's, seldom written: nothing can be recorded now */
	_Alignas(LINE) _Atomic uint32_t refuse;
	/* both: the ledger arms it, the worker disarms it by ringing */
	_Alignas(LINE) _Atomic uint32_t asleep;
	/* both: chain of given back cards, index + 1, last given first; the worker takes it whole
	 */
	_Alignas(LINE) _Atomic uint32_t freed;
};

/* What a card has no room for; touched only by those sessions that need it. */
struct moments {
	int64_t at[EVENT_COUNT];
	uint64_t bytes[2]; /* at the last progress */
	uint64_t position; /* in the ring, of the last progress, + 1 */
	int64_t start_ns;  /* of the session that told it */
	uint32_t age_s;
};

struct layout {
	size_t counters, meters, cards, ring, strings, moments, doors, total;
};

struct books {
	struct books_head *head;
	struct card *cards;
	_Atomic uint32_t *ring;
	char *strings;
	struct moments *moments;
	struct card_door *doors;
	_Atomic uint64_t *counters;
	struct meters *meters;
	size_t mapped;
	uint32_t capacity, ring_mask, worker, generation;
	int64_t born_ms;
	int bell;

	/* worker */
	uint64_t told;  /* events put into the ring */
	uint64_t taken; /* cards taken less those dropped, ever */
	uint32_t free;  /* private chain, index + 1 */
	uint32_t fresh; /* next card never used */
	uint32_t serial;
	int64_t (*wall_ns)(void);

	/* ledger */
	uint64_t heard, done;
	uint64_t nonsense;
};

static size_t
whole_pages(size_t n)
{
	return (n + PAGE - 1) / PAGE * PAGE;
}

static uint32_t
power_of_two(uint32_t least)
{
	uint32_t n = 1;

	while (n < least)
		n <<= 1;
	return n;
}

static struct layout
layout_of(uint32_t capacity, uint32_t ring_size)
{
	struct layout l;

	l.counters = PAGE;
	l.meters = l.counters + whole_pages(COUNT_MAX * sizeof(uint64_t));
	l.cards = l.meters + whole_pages(sizeof(struct meters));
	l.ring = l.cards + whole_pages((size_t)capacity * sizeof(struct card));
	l.strings = l.ring + whole_pages((size_t)ring_size * sizeof(uint32_t));
	l.moments = l.strings + whole_pages((size_t)capacity * CARD_STRINGS * LONG_STRING);
	l.doors = l.moments + whole_pages((size_t)capacity * sizeof(struct moments));
	l.total = l.doors + whole_pages((size_t)capacity * sizeof(struct card_door));
	return l;
}

uint64_t
books_form(void)
{
	const uint64_t sizes[] = {BOOKS_MAGIC,
				  PAGE,
				  LONG_STRING,
				  CARD_STRINGS,
				  EVENT_COUNT,
				  EVENTS_A_CARD,
				  STAGE_TIMES,
				  COUNT_MAX,
				  METER_TIMES,
				  METER_REFUSALS,
				  METER_PROOFS,
				  METER_ATTEMPTS,
				  METER_LOOKUPS,
				  sizeof(struct books_head),
				  offsetof(struct books_head, used),
				  offsetof(struct books_head, tail),
				  offsetof(struct books_head, refuse),
				  offsetof(struct books_head, asleep),
				  offsetof(struct books_head, freed),
				  sizeof(struct card),
				  offsetof(struct card, start_ns),
				  offsetof(struct card, bytes),
				  offsetof(struct card, source),
				  offsetof(struct card, us),
				  offsetof(struct card, name),
				  offsetof(struct card, datagrams),
				  offsetof(struct card, parent),
				  offsetof(struct card, quota),
				  sizeof(struct card_door),
				  sizeof(struct moments),
				  sizeof(struct meters),
				  layout_of(1000, 8192).total};

	return FORM_OF(sizes);
}

int
books_create(unsigned worker, unsigned generation, uint32_t sessions, uint64_t session_seed)
{
	struct books_head head = {.magic = BOOKS_MAGIC};
	struct layout l;

	if (sessions > MOST_CARDS - BOOKS_BACKLOG - BOOKS_DESTINATIONS)
		sessions = MOST_CARDS - BOOKS_BACKLOG - BOOKS_DESTINATIONS;
	head.worker = worker & 63;
	head.generation = generation;
	head.capacity = sessions + BOOKS_BACKLOG + BOOKS_DESTINATIONS;
	/* a card has no more events on the way, so the ring can never be full */
	head.ring_size = power_of_two(EVENTS_A_CARD * head.capacity);
	head.serial_seed = (uint32_t)session_seed & 0xffff;
	head.born_ms = clock_wall_ns() / NS_PER_MS;
	l = layout_of(head.capacity, head.ring_size);
	return memory_create("books", l.total, &head, sizeof head);
}

static bool
head_fits(const struct books_head *h, size_t size)
{
	return h->magic == BOOKS_MAGIC && h->capacity > 0 && h->capacity <= MOST_CARDS &&
	       h->worker < 64 && h->ring_size >= EVENTS_A_CARD * h->capacity &&
	       h->ring_size <= 2 * EVENTS_A_CARD * MOST_CARDS &&
	       (h->ring_size & (h->ring_size - 1)) == 0 &&
	       layout_of(h->capacity, h->ring_size).total == size;
}

static struct books *
map(int fd, int bell, int protection)
{
	struct books_head *head;
	struct layout l;
	struct books *b;
	struct stat st;

	if (fstat(fd, &st) < 0 || st.st_size < (off_t)PAGE)
		return NULL;
	head = mmap(NULL, (size_t)st.st_size, protection, MAP_SHARED, fd, 0);
	if (head == MAP_FAILED)
		return NULL;
	b = head_fits(head, (size_t)st.st_size) ? calloc(1, sizeof(*b)) : NULL;
	if (b == NULL) {
		munmap(head, (size_t)st.st_size);
		return NULL;
	}
	b->capacity = head->capacity;
	b->ring_mask = head->ring_size - 1;
	l = layout_of(head->capacity, head->ring_size);
	if (l.total != (size_t)st.st_size) { /* changed between the looks */
		munmap(head, (size_t)st.st_size);
		free(b);
		return NULL;
	}
	b->head = head;
	b->mapped = l.total;
	b->counters = (_Atomic uint64_t *)((char *)head + l.counters);
	b->meters = (struct meters *)((char *)head + l.meters);
	b->cards = (struct card *)((char *)head + l.cards);
	b->ring = (_Atomic uint32_t *)((char *)head + l.ring);
	b->strings = (char *)head + l.strings;
	b->moments = (struct moments *)((char *)head + l.moments);
	b->doors = (struct card_door *)((char *)head + l.doors);
	b->wall_ns = clock_wall_ns;
	b->worker = head->worker & 63;
	b->generation = head->generation;
	b->born_ms = head->born_ms;
	b->serial = head->serial_seed;
	b->bell = bell;
	/* a ledger that was restarted goes on where the last one stopped */
	b->heard = b->done = atomic_load_explicit(&head->tail, memory_order_acquire);
	return b;
}

struct books *
books_map(int fd, int bell)
{
	struct books *b = map(fd, bell, PROT_READ | PROT_WRITE);

	if (b != NULL)
		books_keep(b, atomic_load_explicit(&b->head->kept, memory_order_relaxed));
	return b;
}

struct books *
books_view(int fd)
{
	return map(fd, -1, PROT_READ);
}

void
books_unmap(struct books *b)
{
	if (b == NULL)
		return;
	munmap(b->head, b->mapped);
	free(b);
}

unsigned
books_worker(const struct books *b)
{
	return b->worker;
}

unsigned
books_generation(const struct books *b)
{
	return b->generation;
}

uint32_t
books_capacity(const struct books *b)
{
	return b->capacity;
}

_Atomic uint64_t *
books_counter(struct books *b, enum books_counter which)
{
	return &b->counters[which];
}

struct meters *
books_meters(struct books *b)
{
	return b->meters;
}

/* -- worker ------------------------------------------------------------------------------- */

/* Last given back first: its memory is warm, and little memory is ever used. */
static struct card *
pop_free(struct books *b)
{
	struct card *c;

	if (b->free == 0 && atomic_load_explicit(&b->head->freed, memory_order_relaxed) != 0)
		b->free = atomic_exchange_explicit(&b->head->freed, 0, memory_order_acquire);
	if (b->free == 0)
		return NULL;
	if (b->free > b->capacity) { /* someone else wrote here: give up what is free */
		b->free = 0;
		return NULL;
	}
	c = &b->cards[b->free - 1];
	b->free = c->serial;
	return c;
}

struct card *
card_take(struct books *b, int64_t wall_ns)
{
	struct card *c;

	if (atomic_load_explicit(&b->head->refuse, memory_order_relaxed))
		return NULL;
	c = pop_free(b);
	if (c == NULL) {
		if (b->fresh == b->capacity)
			return NULL;
		c = &b->cards[b->fresh++];
		atomic_store_explicit(&b->head->used, b->fresh, memory_order_release);
	}
	memset((void *)c, 0, sizeof(*c));
	c->start_ns = wall_ns;
	c->serial = b->worker << 16 | (b->serial++ & 0xffff);
	b->taken++;
	atomic_store_explicit(&c->state, CARD_OPEN, memory_order_release);
	return c;
}

static void
copy_string(struct books *b, struct card *to, const struct card *from, enum card_string which)
{
	char buf[256];
	size_t len = card_string(b, from, which, buf);

	if (len > 0)
		card_set_string(b, to, which, buf, len);
}

struct card *
card_take_destination(struct books *b, const struct card *parent, uint32_t sessions,
		      int64_t wall_ns)
{
	uint64_t wanted = (uint64_t)b->capacity - BOOKS_DESTINATIONS; /* by sessions, with lag */
	struct card *c;

	if (b->capacity > BOOKS_DESTINATIONS && books_free_cards(b) + (uint64_t)sessions <= wanted)
		return NULL;
	if ((c = card_take(b, wall_ns)) == NULL)
		return NULL;
	c->parent_ns = parent->start_ns;
	c->parent = parent->serial;
	c->version = parent->version;
	c->command = parent->command;
	c->auth = parent->auth;
	c->listener = parent->listener;
	c->source = parent->source;
	c->source_port = parent->source_port;
	copy_string(b, c, parent, CARD_USER);
	return c;
}

void
card_drop(struct books *b, struct card *c)
{
	atomic_store_explicit(&c->state, CARD_FREE, memory_order_release);
	c->serial = b->free;
	b->free = (uint32_t)(c - b->cards) + 1;
	b->taken--;
}

struct card_door *
card_door(const struct books *b, const struct card *c)
{
	return &b->doors[c - b->cards];
}

static char *
long_string(const struct books *b, const struct card *c, enum card_string which)
{
	return b->strings + ((size_t)(c - b->cards) * CARD_STRINGS + which) * LONG_STRING;
}

void
card_set_string(struct books *b, struct card *c, enum card_string which, const void *s, size_t len)
{
	if (len > LONG_STRING - 1)
		len = LONG_STRING - 1;
	if (which == CARD_NAME) {
		size_t here = len < CARD_INLINE ? len : CARD_INLINE;

		memcpy(c->name, s, here);
		if (len > here)
			memcpy(long_string(b, c, which) + here, (const char *)s + here, len - here);
		c->name_len = (uint8_t)len;
		return;
	}
	memcpy(long_string(b, c, which), s, len);
	if (which == CARD_USER)
		c->user_len = (uint8_t)len;
	else
		c->userid_len = (uint8_t)len;
}

static uint32_t
lap_bit(const struct books *b, uint64_t position)
{
	return (position / ((uint64_t)b->ring_mask + 1)) & 1 ? 0 : SLOT_LAP;
}

static void
ring_bell(struct books *b)
{
	uint64_t one = 1;

	if (atomic_exchange_explicit(&b->head->asleep, 0, memory_order_relaxed) == 0)
		return;
	/* an eventfd only refuses when it is already rung */
	if (b->bell >= 0 && write(b->bell, &one, sizeof(one)) < 0)
		return;
}

static bool
is_last(uint32_t event)
{
	return event == EVENT_DENY || event == EVENT_FAIL || event == EVENT_END ||
	       event == EVENT_DESTINATION;
}

void
books_clock(struct books *b, int64_t (*wall_ns)(void))
{
	b->wall_ns = wall_ns;
}

void
books_tell(struct books *b, struct card *c, enum books_event event)
{
	uint32_t slot = (uint32_t)(c - b->cards) | (uint32_t)event << SLOT_EVENT_SHIFT;

	meter_add(&b->meters->events[event], 1);
	if ((unsigned)event < EVENT_COUNT && event != EVENT_START && !is_last(event))
		b->moments[c - b->cards].at[event] = b->wall_ns();
	atomic_store_explicit(&b->ring[b->told & b->ring_mask], slot | lap_bit(b, b->told),
			      memory_order_release);
	b->told++;
	/*
	 * After the slot, so that a worker that dies between the two has told a start all the
	 * same; the ledger puts the state right when it hears it. After a last event the card
	 * is not ours any more and must not be touched.
	 */
	if (event == EVENT_START)
		atomic_store_explicit(&c->state, CARD_STARTED, memory_order_relaxed);
	/* the slot before the look at the sleeper: pairs with books_sleep */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&b->head->asleep, memory_order_relaxed))
		ring_bell(b);
}

void
books_progress(struct books *b, struct card *c, uint32_t age_s)
{
	struct moments *m = &b->moments[c - b->cards];

	/* what the last user of this card left there is written, too */
	if (m->position > atomic_load_explicit(&b->head->tail, memory_order_acquire) ||
	    (m->start_ns == c->start_ns && m->age_s >= age_s))
		return;
	m->start_ns = c->start_ns;
	m->age_s = age_s;
	m->position = b->told + 1;
	m->bytes[0] = c->up;
	m->bytes[1] = c->down;
	books_tell(b, c, EVENT_PROGRESS);
}

uint64_t
books_lag(const struct books *b)
{
	return b->told - atomic_load_explicit(&b->head->tail, memory_order_relaxed);
}

uint32_t
books_free_cards(const struct books *b)
{
	uint64_t given = atomic_load_explicit(&b->head->given, memory_order_relaxed);

	return b->capacity - (uint32_t)(b->taken - given);
}

/* -- ledger ------------------------------------------------------------------------------- */

static bool
slot_new(const struct books *b, uint64_t position, uint32_t *slot)
{
	*slot = atomic_load_explicit(&b->ring[position & b->ring_mask], memory_order_acquire);
	return (*slot & SLOT_LAP) == lap_bit(b, position);
}

/* NULL if the slot makes no sense. */
static struct card *
slot_card(const struct books *b, uint32_t slot, uint32_t *event)
{
	uint32_t index = slot & SLOT_CARD_MASK;

	*event = slot >> SLOT_EVENT_SHIFT & SLOT_EVENT_MASK;
	if (index >= b->capacity || *event == EVENT_NONE || *event >= EVENT_COUNT)
		return NULL;
	return &b->cards[index];
}

bool
books_hear(struct books *b, struct books_heard *out)
{
	uint32_t slot, event;
	struct card *c;

	for (;;) {
		/* no more than one lap may be open: what is heard is not yet done */
		if (b->heard - b->done > b->ring_mask || !slot_new(b, b->heard, &slot))
			return false;
		b->heard++;
		c = slot_card(b, slot, &event);
		if (c != NULL)
			break;
		b->nonsense++;
	}
	if (event == EVENT_START &&
	    atomic_load_explicit(&c->state, memory_order_relaxed) == CARD_OPEN)
		atomic_store_explicit(&c->state, CARD_STARTED, memory_order_relaxed);
	out->event = event;
	out->card = c;
	return true;
}

/* The chain of freed cards: this side only pushes, the worker only takes all, so a CAS is safe. */
static void
push_freed(struct books *b, uint32_t first, struct card *last)
{
	uint32_t old = atomic_load_explicit(&b->head->freed, memory_order_relaxed);

	do {
		last->serial = old;
	} while (!atomic_compare_exchange_weak_explicit(
	    &b->head->freed, &old, first, memory_order_release, memory_order_relaxed));
}

void
books_done(struct books *b)
{
	struct card *last = NULL;
	uint32_t first = 0, slot, event;
	uint64_t freed = 0;

	for (; b->done < b->heard; b->done++) {
		struct card *c;

		slot = atomic_load_explicit(&b->ring[b->done & b->ring_mask], memory_order_relaxed);
		c = slot_card(b, slot, &event);
		if (c == NULL || !is_last(event))
			continue;
		atomic_store_explicit(&c->state, CARD_FREE, memory_order_relaxed);
		c->serial = first;
		first = (uint32_t)(c - b->cards) + 1;
		if (last == NULL)
			last = c;
		freed++;
	}
	atomic_store_explicit(&b->head->tail, b->done, memory_order_release);
	if (last == NULL)
		return;
	push_freed(b, first, last);
	atomic_store_explicit(&b->head->given,
			      atomic_load_explicit(&b->head->given, memory_order_relaxed) + freed,
			      memory_order_relaxed);
}

uint64_t
books_position(const struct books *b)
{
	return b->heard;
}

void
books_keep(struct books *b, uint64_t position)
{
	/* A worker may have written here: nothing beyond the ring, nothing already done. */
	if (position < b->done || position - b->done > (uint64_t)b->ring_mask + 1)
		return;
	if (position > b->heard)
		b->heard = position;
	if (position > atomic_load_explicit(&b->head->kept, memory_order_relaxed))
		atomic_store_explicit(&b->head->kept, position, memory_order_release);
}

uint32_t
books_index(const struct books *b, const struct card *c)
{
	return (uint32_t)(c - b->cards);
}

int64_t
books_moment(const struct books *b, const struct card *c, enum books_event event)
{
	const struct moments *m = &b->moments[c - b->cards];

	if (event == EVENT_START)
		return c->told_ns;
	if ((unsigned)event >= EVENT_COUNT || is_last(event))
		return c->end_ns;
	return m->at[event];
}

uint32_t
books_progressed(const struct books *b, const struct card *c, uint64_t bytes[2])
{
	const struct moments *m = &b->moments[c - b->cards];

	memcpy(bytes, m->bytes, sizeof m->bytes);
	return m->age_s;
}

void
books_ended(struct books *b, uint32_t index)
{
	if (index < b->capacity)
		atomic_store_explicit(&b->cards[index].state, CARD_FREE, memory_order_release);
}

void
books_bury(struct books *b)
{
	atomic_store_explicit(&b->head->buried, 1, memory_order_release);
}

bool
books_buried(const struct books *b)
{
	return atomic_load_explicit(&b->head->buried, memory_order_acquire) != 0;
}

bool
books_sleep(struct books *b)
{
	uint32_t slot;

	atomic_store_explicit(&b->head->asleep, 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
	if (!slot_new(b, b->heard, &slot))
		return true;
	books_awake(b);
	return false;
}

void
books_awake(struct books *b)
{
	atomic_store_explicit(&b->head->asleep, 0, memory_order_relaxed);
}

void
books_refuse(struct books *b, bool refuse)
{
	atomic_store_explicit(&b->head->refuse, refuse, memory_order_relaxed);
}

uint64_t
books_nonsense(const struct books *b)
{
	return b->nonsense;
}

struct card *
books_next_open(struct books *b, uint32_t *at)
{
	/* only cards that were ever used: looking at the rest would bring their pages to life */
	uint32_t used = atomic_load_explicit(&b->head->used, memory_order_acquire);

	if (used > b->capacity)
		used = b->capacity;
	while (*at < used) {
		struct card *c = &b->cards[(*at)++];
		uint8_t state = atomic_load_explicit(&c->state, memory_order_acquire);

		if (state == CARD_OPEN || state == CARD_STARTED)
			return c;
	}
	return NULL;
}

size_t
card_string(const struct books *b, const struct card *c, enum card_string which, char buf[256])
{
	const uint8_t *lengths[CARD_STRINGS] = {&c->name_len, &c->user_len, &c->userid_len};
	/* read once: a broken worker may change it while we look */
	size_t len = *(const volatile uint8_t *)lengths[which], here = 0;

	if (which == CARD_NAME) {
		here = len < CARD_INLINE ? len : CARD_INLINE;
		memcpy(buf, c->name, here);
	}
	if (len > here)
		memcpy(buf + here, long_string(b, c, which) + here, len - here);
	buf[len] = '\0';
	return len;
}

static bool
is_live(const struct card *c)
{
	uint8_t state = atomic_load_explicit(&c->state, memory_order_acquire);

	/* what has told its end waits for the ledger only */
	return (state == CARD_OPEN || state == CARD_STARTED) && c->end_ns == 0;
}

bool
card_look(const struct books *b, const struct card *c, struct card_seen *out)
{
	/* A card is zeroed before it is given out again, and its serial and start are another
	 * session's then: what is still so behind the copy was so all the time. */
	if (!is_live(c))
		return false;
	memcpy((void *)&out->card, (const void *)c, sizeof out->card);
	for (int i = 0; i < (int)CARD_STRINGS; i++)
		card_string(b, c, (enum card_string)i, out->strings[i]);
	atomic_thread_fence(memory_order_acquire);
	return is_live(c) && is_live(&out->card) && c->serial == out->card.serial &&
	       c->start_ns == out->card.start_ns;
}

/* -- the id of a session -------------------------------------------------------------------- */

static const char crockford[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

static void
id_of(const struct books *b, int64_t start_ns, uint32_t serial, char out[BOOKS_ID])
{
	int64_t ms = start_ns / NS_PER_MS;
	uint64_t high, low;
	int i;

	/* a worker's successor starts after its birth, so even within one millisecond no id
	 * comes twice: those of the dead one are not later than that */
	if (ms <= b->born_ms)
		ms = b->born_ms + 1;
	/* 70 bits as two halves of 35 */
	high = ((uint64_t)ms & 0xffffffffffffULL) >> 13;
	low = ((uint64_t)ms & 0x1fff) << 22 | (serial & 0x3fffff);
	for (i = 6; i >= 0; i--, high >>= 5, low >>= 5) {
		out[i] = crockford[high & 31];
		out[i + 7] = crockford[low & 31];
	}
	out[BOOKS_ID - 1] = '\0';
}

void
books_id(const struct books *b, const struct card *c, char out[BOOKS_ID])
{
	id_of(b, c->start_ns, c->serial, out);
}

void
books_session_id(const struct books *b, const struct card *c, char out[BOOKS_ID])
{
	if (card_is_destination(c))
		id_of(b, c->parent_ns, c->parent, out);
	else
		books_id(b, c, out);
}

bool
books_id_parse(const char *text, int64_t *ms, uint32_t *low)
{
	uint64_t half[2] = {0, 0};
	int i;

	for (i = 0; i < BOOKS_ID - 1; i++) {
		const char *p = text[i] == '\0' ? NULL : strchr(crockford, text[i]);

		if (p == NULL)
			return false;
		half[i / 7] = half[i / 7] << 5 | (uint64_t)(p - crockford);
	}
	if (text[i] != '\0')
		return false;
	*ms = (int64_t)(half[0] << 13 | half[1] >> 22);
	*low = (uint32_t)(half[1] & 0x3fffff);
	return true;
}
