// SPDX-License-Identifier: MIT
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "http.h"
#include "site.h"

#define HIDDEN_MAX	2	/* the key, the log of secrets */

int site_root(const char *directory)
{
	return open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* By device and inode: under whatever name, they are the same. */
static struct stat hidden[HIDDEN_MAX];
static int hidden_count;

void site_hide(const char *file)
{
	if (file && hidden_count < HIDDEN_MAX && !stat(file, &hidden[hidden_count]))
		hidden_count++;
}

static bool is_hidden(const struct stat *st)
{
	int i;

	for (i = 0; i < hidden_count; i++)
		if (hidden[i].st_dev == st->st_dev && hidden[i].st_ino == st->st_ino)
			return true;
	return false;
}

/* The kernel itself sees to it that neither ".." nor a symbolic link leads outside. */
static int open_beneath(int root, const char *path, int flags)
{
	struct open_how how = {
		.flags = (unsigned int)flags | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	int tries, fd = -1;

	for (tries = 0; tries < 8 && fd < 0; tries++) {
		fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
		/* EAGAIN: something was renamed while the path was walked. */
		if (fd < 0 && errno != EAGAIN && errno != EINTR)
			return -1;
	}
	return fd;
}

static int status_for(int err)
{
	switch (err) {
	case ENOENT:
	case ENOTDIR:
	case ELOOP:
	case ENAMETOOLONG:
		return 404;
	case EACCES:
	case EPERM:
	case EXDEV:
	case ENXIO:
	case ENODEV:
		return 403;
	default:
		return 500;
	}
}

int site_open(int root, const char *path, struct stat *st)
{
	/* O_NONBLOCK: a FIFO must not hold up everybody. */
	int fd = open_beneath(root, *path ? path : ".", O_RDONLY | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return -status_for(errno);
	if (!fstat(fd, st) && (S_ISREG(st->st_mode) || S_ISDIR(st->st_mode)) && !is_hidden(st))
		return fd;
	close(fd);
	return -403;
}

static void put_html(FILE *f, const char *s)
{
	for (; *s; s++)
		switch (*s) {
		case '&':
			fputs("&amp;", f);
			break;
		case '<':
			fputs("&lt;", f);
			break;
		case '>':
			fputs("&gt;", f);
			break;
		case '"':
			fputs("&quot;", f);
			break;
		default:
			fputc(*s, f);
		}
}

static void put_url(FILE *f, const char *s)
{
	for (; *s; s++)
		if (isalnum((unsigned char)*s) || strchr("-._~", *s))
			fputc(*s, f);
		else
			fprintf(f, "%%%02X", (unsigned char)*s);
}

/* A link shows as what it leads to, and not at all when that cannot be had from here. */
static bool stat_entry(int root, const char *directory, const char *name, struct stat *st)
{
	char path[HTTP_PATH_MAX + NAME_MAX + 1];
	bool good;
	int fd;

	snprintf(path, sizeof(path), "%s%s", directory, name);
	fd = open_beneath(root, path, O_PATH);
	if (fd < 0)
		return false;
	good = !fstat(fd, st) && !is_hidden(st);
	close(fd);
	return good;
}

static void put_entry(FILE *f, int root, const char *directory, const char *name)
{
	const char *slash = "";
	struct stat st;

	if (!stat_entry(root, directory, name, &st))
		return;
	if (S_ISDIR(st.st_mode))
		slash = "/";
	fputs("<tr><td><a href=\"", f);
	put_url(f, name);
	fprintf(f, "%s\">", slash);
	put_html(f, name);
	fprintf(f, "%s</a></td><td>", slash);
	if (S_ISREG(st.st_mode))
		fprintf(f, "%lld", (long long)st.st_size);
	fputs("</td></tr>\n", f);
}

static void put_entries(FILE *f, int root, int dir, const char *path)
{
	struct dirent **names = NULL;
	int i, n = scandirat(dir, ".", &names, NULL, alphasort);

	for (i = 0; i < n; i++) {
		/* The top has no parent here. */
		if (strcmp(names[i]->d_name, ".") && (*path || strcmp(names[i]->d_name, "..")))
			put_entry(f, root, path, names[i]->d_name);
		free(names[i]);
	}
	free(names);
}

char *site_list(int root, int dir, const char *path, size_t *len)
{
	char *page = NULL;
	FILE *f = open_memstream(&page, len);

	if (f) {
		fputs("<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>/", f);
		put_html(f, path);
		fputs("</title></head>\n<body><h1>/", f);
		put_html(f, path);
		fputs("</h1>\n<table>\n", f);
		put_entries(f, root, dir, path);
		fputs("</table></body></html>\n", f);
		fclose(f);
	}
	close(dir);
	return page;
}
