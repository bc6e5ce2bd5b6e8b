/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the pure files (record, window, cipher) need of their surroundings, so that the
 * same source compiles in the kernel and in a program of the host.
 */
#ifndef KTLS_BYTES_H
#define KTLS_BYTES_H

#ifdef __KERNEL__
#include <linux/build_bug.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/stddef.h>
#include <linux/string.h>
#include <linux/types.h>
#else
#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#endif

/* Big-endian numbers of the wire, at any alignment. */
static inline u16 ktls_get_be16(const u8 *p)
{
	return (u16)(p[0] << 8 | p[1]);
}

static inline void ktls_put_be16(u8 *p, u16 n)
{
	p[0] = (u8)(n >> 8);
	p[1] = (u8)n;
}

/* Byte by byte, without a loop: compilers make one access of it. */
static inline u32 ktls_get_be32(const u8 *p)
{
	return (u32)p[0] << 24 | (u32)p[1] << 16 | (u32)p[2] << 8 | p[3];
}

static inline void ktls_put_be32(u8 *p, u32 n)
{
	p[0] = (u8)(n >> 24);
	p[1] = (u8)(n >> 16);
	p[2] = (u8)(n >> 8);
	p[3] = (u8)n;
}

static inline u64 ktls_get_be64(const u8 *p)
{
	return (u64)p[0] << 56 | (u64)p[1] << 48 | (u64)p[2] << 40 | (u64)p[3] << 32 |
	       (u64)p[4] << 24 | (u64)p[5] << 16 | (u64)p[6] << 8 | p[7];
}

static inline void ktls_put_be64(u8 *p, u64 n)
{
	p[0] = (u8)(n >> 56);
	p[1] = (u8)(n >> 48);
	p[2] = (u8)(n >> 40);
	p[3] = (u8)(n >> 32);
	p[4] = (u8)(n >> 24);
	p[5] = (u8)(n >> 16);
	p[6] = (u8)(n >> 8);
	p[7] = (u8)n;
}

#endif /* KTLS_BYTES_H */
