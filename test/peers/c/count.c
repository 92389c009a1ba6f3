// A plugin for QEMU's TCG that counts the instructions that a guest executes. It writes their
// number to a file every 10 ms, for the guest itself does not know when it is to be read.
// usage: -plugin count.so,out=FILE
//
// Debian has no package with qemu-plugin.h; this is the part of it that is used here, see
// "QEMU TCG Plugins" in QEMU's documentation.
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct qemu_plugin_tb;
struct qemu_plugin_scoreboard;
typedef struct {
	struct qemu_plugin_scoreboard *score;
	size_t offset;
} qemu_plugin_u64;
enum { QEMU_PLUGIN_INLINE_ADD_U64 };

struct qemu_plugin_scoreboard *qemu_plugin_scoreboard_new(size_t size);
uint64_t qemu_plugin_u64_sum(qemu_plugin_u64 entry);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
void qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(struct qemu_plugin_tb *tb, int op, qemu_plugin_u64 entry, uint64_t n);
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, void (*cb)(struct qemu_plugin_tb *tb, void *data), void *data);

// The oldest version that QEMU 11.1 loads. Before it, the callback had other parameters.
int qemu_plugin_version = 7;

static qemu_plugin_u64 count;

static void translated(struct qemu_plugin_tb *tb, void *data)
{
	(void)data;
	qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(tb, QEMU_PLUGIN_INLINE_ADD_U64, count, qemu_plugin_tb_n_insns(tb));
}

static void *report(void *arg)
{
	int fd = *(int *)arg;
	char line[32];
	for (;;) {
		usleep(10000);
		int n = snprintf(line, sizeof line, "%20llu\n", (unsigned long long)qemu_plugin_u64_sum(count));
		if (pwrite(fd, line, n, 0) != n)
			return NULL;
	}
}

int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv)
{
	(void)info;
	static int fd;
	pthread_t thread;
	if (argc != 1 || strncmp(argv[0], "out=", 4) != 0)
		return -1;
	fd = open(argv[0] + 4, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0) {
		perror(argv[0]);
		return -1;
	}
	count.score = qemu_plugin_scoreboard_new(sizeof(uint64_t));
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated, NULL);
	return pthread_create(&thread, NULL, report, &fd);
}
