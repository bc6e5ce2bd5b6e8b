// SPDX-License-Identifier: MIT
/* One run: connections, their threads, a warm-up and then what counts. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "bench_scenario.h"

#define PAGE	4096

struct run;

/* A thread that is measured, or (helper) the other end of its connection. */
struct hand {
	struct run *run;
	struct bench_worker work;
	pthread_t thread;
	bool started, helper;
	double seconds, cpu;
};

struct run {
	const struct bench_plan *plan;
	struct bench_case *c;
	struct bench_end (*ends)[2];
	struct hand *hands;	/* two a connection */
	unsigned int opened;
	pthread_barrier_t gate;	/* of the measured threads and the one that started them */
	atomic_bool stop;	/* ends a phase of the measured ones, ... */
	atomic_bool quit;	/* ... and the helpers */
	atomic_int error;	/* the first */
};

/* What files are sent from, made when first wanted, for all runs. */
static struct {
	int fd;
	uint8_t *map;
} file = { .fd = -1 };

static double thread_cpu(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void nap(double seconds)
{
	struct timespec t = { .tv_sec = (time_t)seconds };

	t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
	while (nanosleep(&t, &t) && errno == EINTR)
		;
}

static bool is_over(const atomic_bool *flag)
{
	return atomic_load_explicit(flag, memory_order_relaxed);
}

static void fail(struct run *run, int err)
{
	int none = 0;

	atomic_compare_exchange_strong(&run->error, &none, err);
	atomic_store(&run->stop, true);
}

/* Steps until told to end, or (limit not 0) so many records. */
static void phase(struct hand *h, uint64_t limit)
{
	struct bench_worker *w = &h->work;
	double cpu = thread_cpu();
	uint64_t begin = bench_clock();
	int ret = 0;

	w->records = 0;
	w->bytes = 0;
	w->marks[0].count = 0;
	w->marks[1].count = 0;
	while (!is_over(w->stop) && !(limit && w->records >= (double)limit)) {
		ret = w->scenario->step(w);
		w->stalls = ret ? w->stalls + 1 : 0;
		if (w->stalls >= BENCH_STALLS)
			ret = -ETIMEDOUT;
		if (ret && ret != -EAGAIN)
			break;
	}
	h->seconds = (double)(bench_clock() - begin) / 1e9;
	h->cpu = thread_cpu() - cpu;
	if (ret && ret != -EAGAIN)
		fail(h->run, -ret);
}

static void *measured(void *arg)
{
	struct hand *h = arg;
	uint64_t limits[2] = { 0, h->run->plan->records };
	int i;

	for (i = 0; i < 2; i++) {
		pthread_barrier_wait(&h->run->gate);
		phase(h, limits[i]);
		pthread_barrier_wait(&h->run->gate);
	}
	return NULL;
}

static void *helper(void *arg)
{
	struct hand *h = arg;
	struct bench_worker *w = &h->work;
	int ret = 0;

	while (!is_over(&h->run->quit) && (!ret || ret == -EAGAIN)) {
		ret = w->scenario->help(w);
		w->stalls = 0;
	}
	/* At the end the other may have closed. */
	if (ret && ret != -EAGAIN && !is_over(&h->run->quit))
		fail(h->run, -ret);
	return NULL;
}

static bool make_file(void)
{
	if (file.map)
		return true;
	if (file.fd < 0)
		file.fd = memfd_create("ktls bench", MFD_CLOEXEC);
	if (file.fd < 0 || ftruncate(file.fd, BENCH_FILE))
		return false;
	file.map = mmap(NULL, BENCH_FILE, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd, 0);
	if (file.map == MAP_FAILED) {
		file.map = NULL;
		return false;
	}
	/* A hole would be one page of zeros. */
	memset(file.map, 'k', BENCH_FILE);
	return true;
}

static bool equip(struct run *run, struct hand *h, struct bench_end ends[2])
{
	const struct bench_case *c = run->c;
	size_t room = (c->size + PAGE - 1) / PAGE * PAGE;
	int i;

	h->run = run;
	h->work = (struct bench_worker){
		.scenario = c->scenario, .way = c->way, .own = &ends[h->helper],
		.other = &ends[1], .size = c->size, .dgram = c->protocol->dgram,
		.stop = h->helper ? &run->quit : &run->stop, .file = file.fd,
		.map = file.map, .pipe = { -1, -1 }, .buffer = aligned_alloc(PAGE, room),
	};
	if (!h->work.buffer || pipe2(h->work.pipe, O_CLOEXEC))
		return false;
	memset(h->work.buffer, 'k', room);
	for (i = 0; i < BENCH_TIMED && !h->helper; i++)
		if (c->scenario->timed[i]) {
			h->work.marks[i].ns = calloc(BENCH_MARKS, sizeof(uint32_t));
			if (!h->work.marks[i].ns)
				return false;
		}
	return true;
}

static void strip(struct hand *h)
{
	struct bench_worker *w = &h->work;
	int i;

	free(w->buffer);
	for (i = 0; i < 2; i++) {
		free(w->marks[i].ns);
		if (w->buffer && w->pipe[i] >= 0)
			close(w->pipe[i]);
	}
}

static bool start(struct hand *h)
{
	h->started = !pthread_create(&h->thread, NULL, h->helper ? helper : measured, h);
	return h->started;
}

static enum bench_outcome open_all(struct run *run)
{
	struct bench_case *c = run->c;
	struct bench_setup setup = {
		.protocol = c->protocol, .cipher = c->cipher, .size = c->size, .half = c->scenario->half,
		.sends = c->scenario->sends, .receives = c->scenario->receives,
		.no_pad = run->plan->no_pad,
	};
	enum bench_outcome outcome;

	for (; run->opened < run->plan->connections; run->opened++) {
		outcome = c->way->open(&setup, run->ends[run->opened], c->why);
		if (outcome != BENCH_DONE)
			return outcome;
	}
	return BENCH_DONE;
}

/* Where threads cannot be had nothing has begun: those that wait at the gate are let through. */
static bool start_all(struct run *run)
{
	unsigned int i, n = 2 * run->plan->connections;
	bool good = true;

	for (i = 0; i < n && good; i++) {
		run->hands[i].helper = i % 2;
		good = equip(run, &run->hands[i], run->ends[i / 2]);
	}
	if (!good || pthread_barrier_init(&run->gate, NULL, run->plan->connections + 1))
		return false;
	for (i = 1; i < n && good && run->c->scenario->help; i += 2)
		good = start(&run->hands[i]);
	for (i = 0; i < n && good; i += 2)
		if (!start(&run->hands[i])) {
			/* No thread may be left behind at the gate. */
			perror("ktls: pthread_create");
			exit(EXIT_FAILURE);
		}
	return good;
}

static void time_phase(struct run *run, double seconds)
{
	pthread_barrier_wait(&run->gate);
	if (seconds >= 0) {
		nap(seconds);
		atomic_store(&run->stop, true);
	}
	pthread_barrier_wait(&run->gate);
	if (!atomic_load(&run->error))
		atomic_store(&run->stop, false);
}

static void join_all(struct run *run)
{
	unsigned int i;

	atomic_store(&run->quit, true);
	for (i = 0; run->hands && i < 2 * run->plan->connections; i++) {
		if (run->hands[i].started)
			pthread_join(run->hands[i].thread, NULL);
		run->hands[i].started = false;
	}
}

/* All connections' marks as one. */
static struct bench_times times_of(const struct run *run, int which)
{
	struct bench_times times = { 0 };
	size_t count = 0;
	uint32_t *all = calloc(run->plan->connections, BENCH_MARKS * sizeof(*all));
	unsigned int i;

	for (i = 0; i < run->plan->connections && all; i++) {
		const struct bench_marks *m = &run->hands[2 * i].work.marks[which];

		if (m->count)
			memcpy(all + count, m->ns, m->count * sizeof(*all));
		count += m->count;
	}
	if (count)
		times = bench_stats_times(all, count);
	free(all);
	return times;
}

static void add_sample(struct run *run)
{
	struct bench_sample *s = &run->c->samples[run->c->count++];
	unsigned int i;

	*s = (struct bench_sample){ 0 };
	for (i = 0; i < run->plan->connections; i++) {
		const struct hand *h = &run->hands[2 * i];

		s->seconds = h->seconds > s->seconds ? h->seconds : s->seconds;
		s->cpu += h->cpu;
		s->records += h->work.records;
		s->bytes += (double)h->work.bytes;
	}
	for (i = 0; i < BENCH_TIMED; i++)
		if (run->c->scenario->timed[i])
			s->times[i] = times_of(run, (int)i);
}

static void measure(struct run *run)
{
	struct bench_case *c = run->c;
	int err;

	if ((c->scenario->from_file && !make_file()) || !start_all(run)) {
		c->outcome = BENCH_FAILED;
		snprintf(c->why, BENCH_WHY, "not enough files, memory or threads");
		return;
	}
	time_phase(run, run->plan->warmup);
	time_phase(run, run->plan->records ? -1 : run->plan->seconds);
	join_all(run);
	pthread_barrier_destroy(&run->gate);
	err = atomic_load(&run->error);
	if (!err) {
		add_sample(run);
		return;
	}
	c->outcome = BENCH_FAILED;
	snprintf(c->why, BENCH_WHY, "%s", strerror(err));
}

void bench_case_run(const struct bench_plan *plan, struct bench_case *c)
{
	const char *excluded = bench_scenario_excludes(c->scenario, c->way, c->protocol, c->size);
	struct run run = { .plan = plan, .c = c };
	unsigned int i;

	if (excluded) {
		c->outcome = BENCH_ABSENT;
		snprintf(c->why, BENCH_WHY, "%s", excluded);
		return;
	}
	run.ends = calloc(plan->connections, sizeof(*run.ends));
	run.hands = calloc(2 * plan->connections, sizeof(*run.hands));
	c->outcome = run.ends && run.hands ? open_all(&run) : BENCH_FAILED;
	if (c->outcome == BENCH_DONE)
		measure(&run);
	join_all(&run);
	for (i = 0; i < run.opened; i++) {
		c->way->close(&run.ends[i][0]);
		c->way->close(&run.ends[i][1]);
	}
	for (i = 0; i < 2 * plan->connections && run.hands; i++)
		strip(&run.hands[i]);
	free(run.ends);
	free(run.hands);
}
