# SPDX-License-Identifier: GPL-2.0-only
# make help says what there is.

# The kernel to build the module for.
KDIR ?= /lib/modules/$(shell uname -r)/build
# Of the guest: 6.1, 6.12, 7.2, debug, race, or all for check.
KERNEL ?= 6.12
DESTDIR ?=
PREFIX ?= /usr/local
here := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
qemu := $(here)/selftests/qemu

all: userspace
ifneq ($(wildcard $(KDIR)/Makefile),)
all: module
else
all: no-headers
endif

help:
	@echo 'make            the module, the library and the command'
	@echo 'make module     the module only, for the running kernel or KDIR=<its headers>'
	@echo 'make userspace  the library and the command only'
	@echo 'make install    library and command, and the module if built; DESTDIR=, PREFIX=/usr/local'
	@echo 'make uninstall  removes them again; same DESTDIR=, PREFIX='
	@echo 'make demo       curl and openssl fetch files from ktls serve, in a guest'
	@echo 'make bench      ktls bench in a guest, and its report in results/; OPTIONS="-scenario send"'
	@echo 'make bench-insn instructions a record in a guest, beside those of the peers; WRITE=1 keeps'
	@echo '                them as the baseline; KERNEL=6.1|6.12|7.2'
	@echo 'make check      all tests; KERNEL=6.1|6.12|7.2|all, TESTS="names of some"; see results/'
	@echo 'make check-debug  all tests in a kernel with bug detectors (KASAN, lockdep, kmemleak, ...)'
	@echo 'make check-race the same in a kernel with a data race detector (KCSAN), on two processors'
	@echo 'make fuzz       random headers, calls and records, in the debug kernel; MINUTES=10, KERNEL='
	@echo 'make soak       everything at once, and all of it compared; HOURS=1, KERNEL='
	@echo 'make deps       installs what these need, with apt, saying so'
	@echo 'make clean      removes what was built, and results/'
	@echo 'selftests/qemu/run CMD...  any command in a guest with the module loaded'

module:
ifeq ($(wildcard $(KDIR)/Makefile),)
	@$(no_headers) >&2; exit 1
endif
	$(MAKE) -C $(KDIR) M=$(here) modules

# The running kernel may be that of a container's host.
no_headers = printf '%s\n' \
	'No module was built: $(KDIR) does not exist.' \
	'Install the headers of the running kernel (apt install linux-headers-$(shell uname -r)),' \
	'or name those of another: make module KDIR=/usr/src/linux-headers-<version>.'

no-headers: userspace
	@$(no_headers) >&2

userspace:
	$(MAKE) -C userspace DESTDIR=$(DESTDIR) PREFIX=$(PREFIX) all

# A module that was not built is not installed.
install:
	$(MAKE) -C userspace DESTDIR=$(DESTDIR) PREFIX=$(PREFIX) install
ifneq ($(wildcard $(here)/af_ktls.ko),)
	$(MAKE) -C $(KDIR) M=$(here) $(if $(DESTDIR),INSTALL_MOD_PATH=$(DESTDIR)) $(unsigned) \
		modules_install
ifeq ($(DESTDIR),)
	@echo 'depmod, which needs no System.map, as that is in /boot'
	ls -d $(installed) 2>/dev/null | cut -d/ -f4 | sort -u | xargs -r -n 1 /sbin/depmod -a
endif
endif

# Distributions keep the key that their modules are signed with.
unsigned = $(if $(wildcard $(KDIR)/certs/signing_key.pem),,CONFIG_MODULE_SIG_ALL=)

# For every kernel: what the headers call theirs is not the folder's name everywhere.
installed = $(addprefix $(DESTDIR)/lib/modules/*/,extra/af_ktls.ko* updates/af_ktls.ko*)

uninstall:
	$(MAKE) -C userspace DESTDIR=$(DESTDIR) PREFIX=$(PREFIX) uninstall
	rm -f $(installed)

clean:
	$(MAKE) -C userspace clean
	$(MAKE) -C selftests clean
	$(MAKE) -C selftests/unit clean
	rm -rf results
ifneq ($(wildcard $(KDIR)/Makefile),)
	$(MAKE) -C $(KDIR) M=$(here) clean
endif

deps:
	@$(qemu)/deps check

demo:
	@$(qemu)/deps demo
	@$(qemu)/demo

bench:
	@$(qemu)/deps bench
	@$(qemu)/bench $(OPTIONS)

bench-insn:
	@$(qemu)/deps bench
	@$(qemu)/bench-insn $(KERNEL) $(if $(WRITE),--write)

fuzz:
	@$(qemu)/deps check
	@$(qemu)/fuzz $(MINUTES)

soak:
	@$(qemu)/deps check
	@$(qemu)/soak $(HOURS)

check-debug check-race:
	@$(qemu)/deps check
	@$(qemu)/check $(@:check-%=%) $(TESTS)

check:
	@$(qemu)/deps check
	@$(qemu)/check $(KERNEL) $(TESTS)

.PHONY: all help module no-headers userspace install uninstall clean deps demo bench bench-insn check \
	check-debug check-race fuzz soak
