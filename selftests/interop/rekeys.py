# SPDX-License-Identifier: GPL-2.0-only
"""How often the module's keys have changed."""


def rekeys():
    """For sending, and for receiving."""
    with open('/proc/net/ktls_stat') as stat:
        figures = dict(line.split() for line in stat)
    return int(figures['KtlsTxRekeys']), int(figures['KtlsRxRekeys'])
