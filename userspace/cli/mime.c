// SPDX-License-Identifier: MIT
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "mime.h"

static const struct {
	const char *suffix, *type;
} types[] = {
	{ "html", "text/html; charset=utf-8" }, { "htm", "text/html; charset=utf-8" },
	{ "css", "text/css; charset=utf-8" }, { "js", "text/javascript; charset=utf-8" },
	{ "mjs", "text/javascript; charset=utf-8" }, { "txt", "text/plain; charset=utf-8" },
	{ "md", "text/markdown; charset=utf-8" }, { "csv", "text/csv; charset=utf-8" },
	{ "json", "application/json" }, { "xml", "application/xml" },
	{ "pdf", "application/pdf" }, { "wasm", "application/wasm" },
	{ "zip", "application/zip" }, { "gz", "application/gzip" },
	{ "tar", "application/x-tar" }, { "xz", "application/x-xz" },
	{ "zst", "application/zstd" }, { "iso", "application/x-iso9660-image" },
	{ "png", "image/png" }, { "jpg", "image/jpeg" }, { "jpeg", "image/jpeg" },
	{ "gif", "image/gif" }, { "svg", "image/svg+xml" }, { "webp", "image/webp" },
	{ "avif", "image/avif" }, { "ico", "image/vnd.microsoft.icon" },
	{ "mp3", "audio/mpeg" }, { "ogg", "audio/ogg" }, { "wav", "audio/wav" },
	{ "mp4", "video/mp4" }, { "webm", "video/webm" },
	{ "woff", "font/woff" }, { "woff2", "font/woff2" }, { "ttf", "font/ttf" },
	{ "c", "text/plain; charset=utf-8" }, { "h", "text/plain; charset=utf-8" },
	{ "log", "text/plain; charset=utf-8" }, { "sh", "text/plain; charset=utf-8" },
};

const char *mime_type(const char *name)
{
	const char *slash = strrchr(name, '/');
	const char *dot = strrchr(slash ? slash : name, '.');
	size_t i;

	for (i = 0; dot && i < sizeof(types) / sizeof(types[0]); i++)
		if (!strcasecmp(dot + 1, types[i].suffix))
			return types[i].type;
	return "application/octet-stream";
}
