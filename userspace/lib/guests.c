// SPDX-License-Identifier: MIT
#include <netinet/in.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "guests.h"

void ktls_guest_name(const struct sockaddr_storage *from, struct sockaddr_storage *name)
{
	const struct sockaddr_in6 *from6 = (const struct sockaddr_in6 *)from;
	const struct sockaddr_in *from4 = (const struct sockaddr_in *)from;
	struct sockaddr_in6 *name6 = (struct sockaddr_in6 *)name;
	struct sockaddr_in *name4 = (struct sockaddr_in *)name;

	memset(name, 0, sizeof(*name));
	name->ss_family = from->ss_family;
	if (from->ss_family == AF_INET6) {
		name6->sin6_addr = from6->sin6_addr;
		name6->sin6_port = from6->sin6_port;
		name6->sin6_scope_id = from6->sin6_scope_id;
	} else {
		name4->sin_addr = from4->sin_addr;
		name4->sin_port = from4->sin_port;
	}
}

/* The address is the first member: names are compared with guests. */
static int compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct sockaddr_storage));
}

static struct ktls_guest *find(struct ktls_guests *guests, const struct sockaddr_storage *name)
{
	void *node = tfind(name, &guests->tree, compare);

	return node ? *(struct ktls_guest **)node : NULL;
}

static struct ktls_guest *add(struct ktls_guests *guests, const struct sockaddr_storage *name)
{
	struct ktls_guest *guest = calloc(1, sizeof(*guest));

	if (!guest)
		return NULL;
	guest->addr = *name;
	if (tsearch(guest, &guests->tree, compare))
		return guest;
	free(guest);
	return NULL;
}

static void drop_if_gone(struct ktls_guests *guests, struct ktls_guest *guest)
{
	if (guest->open || guest->shaking)
		return;
	tdelete(guest, &guests->tree, compare);
	free(guest);
}

struct ktls_guest *ktls_guests_find(struct ktls_guests *guests,
				    const struct sockaddr_storage *name)
{
	struct ktls_guest *guest;

	pthread_mutex_lock(&guests->lock);
	guest = find(guests, name);
	/* One that only has an open connection may vanish at any time. */
	if (guest && !guest->shaking)
		guest = NULL;
	pthread_mutex_unlock(&guests->lock);
	return guest;
}

struct ktls_guest *ktls_guests_add(struct ktls_guests *guests, const struct sockaddr_storage *name,
				   struct ktls_conn *conn)
{
	struct ktls_guest *guest;

	pthread_mutex_lock(&guests->lock);
	guest = find(guests, name);
	if (!guest)
		guest = add(guests, name);
	if (guest)
		guest->shaking = conn;
	pthread_mutex_unlock(&guests->lock);
	return guest;
}

void ktls_guests_settle(struct ktls_guests *guests, struct ktls_guest *guest,
			struct ktls_conn *conn)
{
	pthread_mutex_lock(&guests->lock);
	guest->shaking = NULL;
	if (conn)
		guest->open = conn;
	drop_if_gone(guests, guest);
	pthread_mutex_unlock(&guests->lock);
}

void ktls_guests_leave(struct ktls_guests *guests, struct ktls_guest *guest,
		       const struct ktls_conn *conn)
{
	if (guest->open != conn)
		return;
	guest->open = NULL;
	drop_if_gone(guests, guest);
}
