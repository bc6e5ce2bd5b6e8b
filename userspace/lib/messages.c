// SPDX-License-Identifier: MIT
#include "messages.h"

bool ktls_messages_find(struct ktls_messages *m, const uint8_t *data, size_t len, uint8_t type)
{
	bool found = false;
	size_t n;

	while (len) {
		if (m->left) {
			n = len < m->left ? len : m->left;
			m->left -= n;
		} else {
			n = 1;
			m->header[m->have++] = *data;
			if (m->have == MESSAGES_HEADER) {
				m->have = 0;
				found = found || m->header[0] == type;
				m->left = (size_t)m->header[1] << 16 |
					  (size_t)m->header[2] << 8 | m->header[3];
			}
		}
		data += n;
		len -= n;
	}
	return found;
}
