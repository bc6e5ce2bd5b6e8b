// SPDX-License-Identifier: MIT
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <time.h>

#include <openssl/crypto.h>
#ifdef HAVE_GNUTLS
#include <gnutls/gnutls.h>
#endif

#include "bench_machine.h"

#define LINE	4096

/* The value of "name   : value" in the first processor's part. */
static void cpuinfo(const char *name, char *out, size_t room)
{
	FILE *f = fopen("/proc/cpuinfo", "re");
	char line[LINE];
	const char *colon;

	out[0] = '\0';
	while (f && !out[0] && fgets(line, sizeof(line), f)) {
		colon = strchr(line, ':');
		if (colon && !strncmp(line, name, strlen(name)))
			snprintf(out, room, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
	}
	if (f)
		fclose(f);
}

/* QEMU's emulator says so; a hypervisor that uses the hardware shows the processor's own name. */
static void describe_processor(struct bench_machine *m)
{
	char flags[LINE], vendor[64] = "";
	FILE *f = fopen("/sys/class/dmi/id/sys_vendor", "re");

	if (f && fgets(vendor, sizeof(vendor), f))
		vendor[strcspn(vendor, "\n")] = '\0';
	if (f)
		fclose(f);
	cpuinfo("model name", m->processor, sizeof(m->processor));
	cpuinfo("flags", flags, sizeof(flags));
	m->emulated = strstr(m->processor, "TCG");
	if (m->emulated)
		snprintf(m->virtual, sizeof(m->virtual), "emulated by QEMU");
	else if (strstr(flags, "hypervisor"))
		snprintf(m->virtual, sizeof(m->virtual), "virtual machine%s%.40s",
			 vendor[0] ? ": " : "", vendor);
	else
		snprintf(m->virtual, sizeof(m->virtual), "no");
}

static void describe_system(struct bench_machine *m)
{
	struct utsname name;
	struct sysinfo info;

	m->processors = get_nprocs();
	if (!sysinfo(&info))
		snprintf(m->memory, sizeof(m->memory), "%.1f GiB",
			 (double)info.totalram * info.mem_unit / (1 << 30));
	if (!uname(&name))
		snprintf(m->kernel, sizeof(m->kernel), "%.20s %.60s %.20s", name.sysname,
			 name.release, name.machine);
}

static void describe_command(struct bench_machine *m, int argc, char **argv)
{
	size_t at = (size_t)snprintf(m->command, sizeof(m->command), "ktls");
	int i;

	for (i = 0; i < argc && at < sizeof(m->command); i++)
		at += (size_t)snprintf(m->command + at, sizeof(m->command) - at, " %s", argv[i]);
}

void bench_machine_describe(struct bench_machine *m, int argc, char **argv)
{
	time_t now = time(NULL);
	struct tm utc;

	memset(m, 0, sizeof(*m));
	describe_processor(m);
	describe_system(m);
	describe_command(m, argc, argv);
	snprintf(m->libraries, sizeof(m->libraries), "ktls %s, %s", KTLS_VERSION,
		 OpenSSL_version(OPENSSL_VERSION));
#ifdef HAVE_GNUTLS
	snprintf(m->libraries + strlen(m->libraries), sizeof(m->libraries) - strlen(m->libraries),
		 ", GnuTLS %s", gnutls_check_version(NULL));
#endif
	strftime(m->date, sizeof(m->date), "%Y-%m-%d %H:%M UTC", gmtime_r(&now, &utc));
}
