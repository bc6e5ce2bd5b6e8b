/* SPDX-License-Identifier: MIT */
#ifndef KTLS_CLI_MIME_H
#define KTLS_CLI_MIME_H

/* The media type of a file, from its name. */
const char *mime_type(const char *name);

#endif
