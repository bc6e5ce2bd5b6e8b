// SPDX-License-Identifier: MIT
#include "hello.h"
#include "wire.h"

#define CLIENT_HELLO		1
#define VERSION_AND_RANDOM	(2 + 32)
#define SUPPORTED_VERSIONS	43

/* What is still to be read; reading past the end leaves nothing. */
struct cursor {
	const uint8_t *at;
	size_t left;
};

static struct cursor take(struct cursor *c, size_t len)
{
	struct cursor taken = { c->at, len };

	if (len > c->left) {
		c->left = 0;
		return (struct cursor){ NULL, 0 };
	}
	c->at += len;
	c->left -= len;
	return taken;
}

static size_t take_number(struct cursor *c, size_t len)
{
	struct cursor bytes = take(c, len);
	size_t i, n = 0;

	for (i = 0; i < bytes.left; i++)
		n = n << 8 | bytes.at[i];
	return n;
}

/* Something behind its length, which has so many bytes. */
static struct cursor take_vector(struct cursor *c, size_t len)
{
	return take(c, take_number(c, len));
}

static struct cursor take_extensions(struct cursor hello)
{
	take(&hello, VERSION_AND_RANDOM);
	take_vector(&hello, 1);		/* session id */
	take_vector(&hello, 2);		/* cipher suites */
	take_vector(&hello, 1);		/* compression methods */
	return take_vector(&hello, 2);
}

static bool has_version(struct cursor versions, uint16_t version)
{
	while (versions.left >= 2)
		if (take_number(&versions, 2) == version)
			return true;
	return false;
}

bool ktls_hello_offers(const uint8_t *record, size_t len, uint16_t version)
{
	struct cursor c = { record, len }, extensions, data;
	size_t type = take_number(&c, 1);

	take(&c, FLOW_HEADER - 1);
	if (type != RECORD_HANDSHAKE || take_number(&c, 1) != CLIENT_HELLO)
		return false;
	extensions = take_extensions(take_vector(&c, 3));
	while (extensions.left) {
		type = take_number(&extensions, 2);
		data = take_vector(&extensions, 2);
		if (type == SUPPORTED_VERSIONS)
			return has_version(take_vector(&data, 1), version);
	}
	return false;
}
