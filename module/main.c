// SPDX-License-Identifier: GPL-2.0-only
/* Loading and unloading. */
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <net/net_namespace.h>

#include "ktls.h"

int ktls_family = AF_KTLS;
module_param_named(family, ktls_family, int, 0444);
MODULE_PARM_DESC(family, "number of the address family (default 12)");

struct workqueue_struct *ktls_workqueue;
/* What may take its time, so that nothing else waits for it. */
struct workqueue_struct *ktls_finish_workqueue;
unsigned int ktls_net_id;

static int __net_init net_init(struct net *net)
{
	struct ktls_net *kn = ktls_net(net);
	int ret;

	spin_lock_init(&kn->lock);
	INIT_LIST_HEAD(&kn->socks);
	kn->stats = alloc_percpu(struct ktls_stats);
	if (!kn->stats)
		return -ENOMEM;
	ret = ktls_proc_net_init(net);
	if (ret)
		free_percpu(kn->stats);
	return ret;
}

static void __net_exit net_exit(struct net *net)
{
	ktls_proc_net_exit(net);
	free_percpu(ktls_net(net)->stats);
}

static struct pernet_operations net_ops = {
	.init	= net_init,
	.exit	= net_exit,
	.id	= &ktls_net_id,
	.size	= sizeof(struct ktls_net),
};

static int __init ktls_init(void)
{
	int ret = -ENOMEM;

	if (ktls_family <= 0 || ktls_family >= AF_MAX) {
		pr_err("af_ktls: family=%d is not from 1 to %d\n", ktls_family, AF_MAX - 1);
		return -EINVAL;
	}
	ktls_workqueue = alloc_workqueue("af_ktls", WQ_UNBOUND, 0);
	if (!ktls_workqueue)
		return ret;
	ktls_finish_workqueue = alloc_workqueue("af_ktls_finish", WQ_UNBOUND, 0);
	if (!ktls_finish_workqueue)
		goto destroy_workqueue;
	ret = proto_register(&ktls_proto, 1);
	if (ret)
		goto destroy_finish_workqueue;
	ret = ktls_udp_init();
	if (ret)
		goto unregister_proto;
	ret = register_pernet_subsys(&net_ops);
	if (ret)
		goto exit_udp;
	ktls_family_ops.family = ktls_family;
	ret = sock_register(&ktls_family_ops);
	if (ret) {
		pr_err("af_ktls: address family %d is taken: load with family= another number\n",
		       ktls_family);
		goto unregister_pernet;
	}
	return 0;

unregister_pernet:
	unregister_pernet_subsys(&net_ops);
exit_udp:
	ktls_udp_exit();
unregister_proto:
	proto_unregister(&ktls_proto);
destroy_finish_workqueue:
	destroy_workqueue(ktls_finish_workqueue);
destroy_workqueue:
	destroy_workqueue(ktls_workqueue);
	return ret;
}

/*
 * No socket exists: each holds the module. But somebody may have fetched a guarded carrier's
 * operations just before the carrier was given back, and be about to call into us or to
 * return: those functions do not sleep, so it has left when every task has been scheduled.
 */
static void __exit ktls_exit(void)
{
	sock_unregister(ktls_family);
	unregister_pernet_subsys(&net_ops);
	ktls_udp_exit();
	proto_unregister(&ktls_proto);
	destroy_workqueue(ktls_finish_workqueue);
	destroy_workqueue(ktls_workqueue);
	synchronize_rcu_tasks();
	rcu_barrier();
}

module_init(ktls_init);
module_exit(ktls_exit);

MODULE_DESCRIPTION("TLS record layer as a socket family");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1");
MODULE_ALIAS_NETPROTO(AF_KTLS);
