/* SPDX-License-Identifier: MIT */
/* The directory that is served; nothing outside it is ever opened. */
#ifndef KTLS_CLI_SITE_H
#define KTLS_CLI_SITE_H

#include <stddef.h>
#include <sys/stat.h>

/* A descriptor for site_open, or -1 with errno. */
int site_root(const char *directory);

/* The file (NULL: none), which must exist, is answered with 403 and not listed. */
void site_hide(const char *file);

/*
 * Opens a file or directory beneath root by its path without leading '/'. Returns the
 * descriptor and fills *st, or minus the HTTP status that fits.
 */
int site_open(int root, const char *path, struct stat *st);

/*
 * An HTML page (malloc, *len) of what the directory dir (taken) holds; path, from root, is
 * empty or ends with '/'. NULL: no memory.
 */
char *site_list(int root, int dir, const char *path, size_t *len);

#endif
