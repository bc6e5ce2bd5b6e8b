// SPDX-License-Identifier: GPL-2.0-only
/*
 * DTLS records that reach the socket in pages of a file, as the sender spliced them to UDP on this
 * machine: they are opened, and the file stays as it is.
 */
#include "kselftest_harness.h"
#include "ktls_test.h"
#include "dtls_test.h"

#include <netinet/udp.h>
#include <sys/mman.h>

static uint8_t data[DATAGRAM_MAX], payload[DATAGRAM_MAX], record[DATAGRAM_MAX];

DTLS_FIXTURE(lent_pages);

/* Sends a datagram of what lies in a file, in pieces of step bytes. */
static bool splice_datagram(int udp, int file, size_t len, size_t step)
{
	int on = 1, off = 0, pipes[2];
	loff_t at = 0;
	bool good = true;

	if (pipe(pipes))
		return false;
	setsockopt(udp, SOL_UDP, UDP_CORK, &on, sizeof(on));
	while (good && (size_t)at < len) {
		ssize_t n = splice(file, &at, pipes[1], NULL, step < len - at ? step : len - at, 0);

		good = n > 0 && splice(pipes[0], NULL, udp, NULL, n, SPLICE_F_MORE) == n;
	}
	setsockopt(udp, SOL_UDP, UDP_CORK, &off, sizeof(off));
	close(pipes[0]);
	close(pipes[1]);
	return good;
}

static bool file_is(int file, const void *what, size_t len)
{
	static uint8_t got[DATAGRAM_MAX];

	return pread(file, got, len, 0) == (ssize_t)len && !memcmp(got, what, len);
}

TEST_F(lent_pages, opened)
{
	static const size_t sizes[] = { 1, 100, 1400, 5000, PAYLOAD_MAX };
	static const size_t steps[] = { 1 << 16, 4096, 1000 };
	uint8_t type;
	size_t i, j;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (j = 0; j < sizeof(steps) / sizeof(steps[0]); j++) {
			int file = memfd_create("records", 0);
			ssize_t len;

			fill(data, sizes[i], i + j);
			len = dgram_seal(&self->peer, DATA, data, sizes[i], record);
			ASSERT_EQ(len, write(file, record, len));
			ASSERT_TRUE(splice_datagram(self->peer.fd, file, len, steps[j]));
			ASSERT_EQ((ssize_t)sizes[i], recv_type(self->fd, payload, sizeof(payload), 0,
							       &type));
			EXPECT_EQ(DATA, type);
			EXPECT_TRUE(filled(payload, sizes[i], i + j));
			EXPECT_TRUE(file_is(file, record, len));
			close(file);
		}
	}
}

/*
 * What changes until it is read is no record any more, and costs nothing but itself. Linux 6.1 may
 * have copied it before.
 */
TEST_F(lent_pages, changed)
{
	int file = memfd_create("records", 0);
	struct ktls_info info;
	ssize_t all, len;

	fill(data, 1400, 0);
	all = dgram_seal(&self->peer, DATA, data, 1400, record);
	ASSERT_EQ(all, write(file, record, all));
	ASSERT_TRUE(splice_datagram(self->peer.fd, file, all, 1000));
	ASSERT_EQ(1, pwrite(file, "\0", 1, 700));
	ASSERT_EQ(1, pwrite(file, "\1", 1, 701));
	record[700] = 0;
	record[701] = 1;
	ASSERT_EQ(0, dgram_send(&self->peer, DATA, "next", 4));
	len = recv(self->fd, payload, sizeof(payload), 0);
	ASSERT_EQ(0, get_info(self->fd, &info));
	if (len == 1400) {
		EXPECT_TRUE(filled(payload, 1400, 0));
		EXPECT_EQ(0, info.rx_bad_tag);
		len = recv(self->fd, payload, sizeof(payload), 0);
	} else {
		EXPECT_EQ(1, info.rx_bad_tag);
	}
	EXPECT_EQ(4, len);
	EXPECT_TRUE(file_is(file, record, all));
	close(file);
}

TEST_HARNESS_MAIN
