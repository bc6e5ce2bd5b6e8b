// SPDX-License-Identifier: GPL-2.0-only
/*
 * Makes each mistake that the debug kernel has a detector for, one for each word written to
 * /sys/module/ktls_mistakes/parameters/make. See ../detectors.
 */
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/uaccess.h>

static DEFINE_MUTEX(one);
static DEFINE_MUTEX(other);
static DEFINE_SPINLOCK(lock);
static char __rcu *protected;

static void use_after_free(void)
{
	char *memory = kmalloc(64, GFP_KERNEL);

	kfree(memory);
	WRITE_ONCE(memory[3], 1);
}

static void out_of_bounds(void)
{
	char *memory = kmalloc(61, GFP_KERNEL);
	size_t len = 61;

	OPTIMIZER_HIDE_VAR(len);
	WRITE_ONCE(memory[len], 1);
	kfree(memory);
}

static void double_free(void)
{
	char *memory = kmalloc(64, GFP_KERNEL);

	kfree(memory);
	OPTIMIZER_HIDE_VAR(memory);
	kfree(memory);
}

static void beyond_an_array(void)
{
	static int array[4];
	int i = 5;

	OPTIMIZER_HIDE_VAR(i);
	/* Where the compiler does not know the address, only the index is wrong. */
	if (READ_ONCE(array[0]) == 0)
		(void)READ_ONCE(array[i]);
}

static void shift_too_far(void)
{
	int bits = 40;

	OPTIMIZER_HIDE_VAR(bits);
	bits = 1 << bits;
	OPTIMIZER_HIDE_VAR(bits);
}

static void sleep_under_a_spinlock(void)
{
	spin_lock(&lock);
	might_sleep();
	spin_unlock(&lock);
}

static void dereference_without_rcu(void)
{
	(void)rcu_dereference(protected);
}

static void locks_in_both_orders(void)
{
	mutex_lock(&one);
	mutex_lock(&other);
	mutex_unlock(&other);
	mutex_unlock(&one);
	mutex_lock(&other);
	mutex_lock(&one);
	mutex_unlock(&one);
	mutex_unlock(&other);
}

static void never(struct timer_list *timer)
{
}

static void free_an_active_timer(void)
{
	struct timer_list *timer = kmalloc(sizeof(*timer), GFP_KERNEL);

	timer_setup(timer, never, 0);
	mod_timer(timer, jiffies + 1000 * HZ);
	kfree(timer);
}

static void corrupt_a_list(void)
{
	struct list_head head, a, b;

	INIT_LIST_HEAD(&head);
	list_add(&a, &head);
	WRITE_ONCE(head.next, &b);
	b.prev = &b;
	list_add(&b, &head);
}

static void leak(void)
{
	int i;

	/* One may be remembered by chance. */
	for (i = 0; i < 10; i++)
		WRITE_ONCE(*(char *)kmalloc(1000, GFP_KERNEL), 1);
}

static int unordered;

static noinline void add_to_it(void)
{
	unordered++;
	cond_resched();
}

static int add_until_stopped(void *arg)
{
	while (!kthread_should_stop())
		add_to_it();
	return 0;
}

static void race_of_two(void)
{
	struct task_struct *other_thread = kthread_run(add_until_stopped, NULL, "ktls_mistakes");
	unsigned long end = jiffies + 2 * HZ;

	if (IS_ERR(other_thread)) {
		pr_err("ktls_mistakes: no second thread: %ld\n", PTR_ERR(other_thread));
		return;
	}
	while (time_before(jiffies, end))
		add_to_it();
	kthread_stop(other_thread);
}

static const struct {
	const char *name;
	void (*make)(void);
} mistakes[] = {
	{ "use_after_free", use_after_free },
	{ "out_of_bounds", out_of_bounds },
	{ "double_free", double_free },
	{ "beyond_an_array", beyond_an_array },
	{ "shift_too_far", shift_too_far },
	{ "sleep_under_a_spinlock", sleep_under_a_spinlock },
	{ "dereference_without_rcu", dereference_without_rcu },
	{ "free_an_active_timer", free_an_active_timer },
	{ "corrupt_a_list", corrupt_a_list },
	{ "locks_in_both_orders", locks_in_both_orders },
	{ "leak", leak },
	{ "race_of_two", race_of_two },
};

static int make(const char *name, const struct kernel_param *param)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(mistakes); i++)
		if (sysfs_streq(name, mistakes[i].name)) {
			mistakes[i].make();
			return 0;
		}
	return -EINVAL;
}

static const struct kernel_param_ops ops = { .set = make };

module_param_cb(make, &ops, NULL, 0200);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Mistakes that the debug kernel has to find");
