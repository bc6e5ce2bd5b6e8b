/* SPDX-License-Identifier: MIT */
/* Where figures were taken. */
#ifndef KTLS_CLI_BENCH_MACHINE_H
#define KTLS_CLI_BENCH_MACHINE_H

#include <stdbool.h>

struct bench_machine {
	char processor[128];
	int processors;
	char memory[32];
	char kernel[128];
	char virtual[64];	/* "none", or what it runs on */
	bool emulated;		/* seconds mean little then */
	char libraries[160];
	char date[32];
	char command[512];
};

void bench_machine_describe(struct bench_machine *m, int argc, char **argv);

#endif
