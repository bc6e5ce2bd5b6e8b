// SPDX-License-Identifier: GPL-2.0-only
/* module/window.c against a list of all that was seen. */
#include <stdlib.h>

#include "tap.h"
#include "window.h"

#define MODEL_MAX	20000

struct model {
	u64 first;		/* those before were somebody else's */
	u64 next;
	u64 seen[MODEL_MAX];
	size_t count;
};

static enum ktls_verdict expected(const struct model *model, u32 size, u64 seq)
{
	size_t i;

	if (seq >= model->next)
		return KTLS_FRESH;
	if (model->next - seq > size)
		return KTLS_TOO_OLD;
	if (seq < model->first)
		return KTLS_REPLAYED;
	for (i = model->count; i; i--)
		if (model->seen[i - 1] == seq)
			return KTLS_REPLAYED;
	return KTLS_FRESH;
}

static u64 rand64(void)
{
	return (u64)random() << 31 ^ (u64)random();
}

/* What a lossy, reordering network with replaying people on it brings next. */
static u64 next_number(u64 sent, unsigned int loss, u32 size)
{
	switch (random() % 8) {
	case 0:		/* replayed, or late, or long gone */
		return sent - rand64() % (sent < 3 * size ? sent + 1 : 3ULL * size);
	case 1:		/* around the window's left edge */
		return sent < size + 2 ? 0 : sent - size + (u64)(random() % 5) - 2;
	default:
		while ((unsigned int)(random() % 100) < loss)
			sent++;
		return sent + 1;
	}
}

static size_t run(u64 first, u32 size, unsigned int loss, bool jumps)
{
	static struct ktls_window window;
	static struct model model;
	size_t i, wrong = 0;
	u64 seq;

	ktls_window_init(&window, first);
	model.first = first;
	model.next = first;
	model.count = 0;
	for (i = 0; i < MODEL_MAX; i++) {
		seq = next_number(model.next ? model.next - 1 : 0, loss, size);
		if (jumps && random() % 500 == 0)
			seq = model.next + rand64() % (1ULL << (random() % 40));
		wrong += ktls_window_check(&window, size, seq) != expected(&model, size, seq);
		/* A forged record stops here. */
		if (ktls_window_check(&window, size, seq) != KTLS_FRESH || random() % 10 == 0)
			continue;
		ktls_window_commit(&window, seq);
		model.seen[model.count++] = seq;
		if (seq >= model.next)
			model.next = seq + 1;
		wrong += window.next != model.next;
	}
	return wrong;
}

static void random_sequences(void)
{
	static const u32 sizes[] = { 64, 65, 100, 1000, 4095, 4096 };
	static const u64 firsts[] = { 0, 1, 63, 64, 5000, (1ULL << 48) - 30000 };
	size_t i, j, wrong = 0;
	unsigned int loss;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (j = 0; j < sizeof(firsts) / sizeof(firsts[0]); j++)
			for (loss = 0; loss <= 90; loss += 45)
				wrong += run(firsts[j], sizes[i], loss, loss == 45);
	tap(!wrong, "random sequences", "");
}

static void empty(void)
{
	struct ktls_window window;
	size_t wrong = 0;

	ktls_window_init(&window, 0);
	wrong += ktls_window_check(&window, 64, 0) != KTLS_FRESH;
	ktls_window_commit(&window, 0);
	wrong += ktls_window_check(&window, 64, 0) != KTLS_REPLAYED;
	wrong += ktls_window_check(&window, 64, 1) != KTLS_FRESH;
	tap(!wrong, "the first number is 0", "");
}

/* 10,000 are lost: the next one is taken, and those just before it may still come. */
static void lost(void)
{
	struct ktls_window window;
	size_t wrong = 0;
	u64 seq;

	ktls_window_init(&window, 0);
	for (seq = 0; seq < 100; seq++)
		ktls_window_commit(&window, seq);
	ktls_window_commit(&window, 10100);
	for (seq = 10100 - 63; seq < 10100; seq++)
		wrong += ktls_window_check(&window, 64, seq) != KTLS_FRESH;
	wrong += ktls_window_check(&window, 64, 10100 - 64) != KTLS_TOO_OLD;
	wrong += ktls_window_check(&window, 64, 10101) != KTLS_FRESH;
	tap(!wrong, "10,000 lost", "");
}

static void last(void)
{
	u64 seq = (1ULL << 48) - 1;
	struct ktls_window window;
	size_t wrong = 0;

	ktls_window_init(&window, 0);
	ktls_window_commit(&window, seq);
	wrong += ktls_window_check(&window, 4096, seq) != KTLS_REPLAYED;
	wrong += ktls_window_check(&window, 4096, seq - 4095) != KTLS_FRESH;
	wrong += ktls_window_check(&window, 4096, seq - 4096) != KTLS_TOO_OLD;
	tap(!wrong, "a jump to the last number", "");
}

int main(void)
{
	srandom(1);
	empty();
	lost();
	last();
	random_sequences();
	return tap_done();
}
