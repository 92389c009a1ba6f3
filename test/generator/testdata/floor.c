/* The minimum of system calls for n .vm files, in two threads: open each file, check that
 * it is a regular one, read and close it; look for symbolic links in the path of its work
 * directory; create three directories, a file in each, and a link. Nothing is parsed: every
 * drop-in has the same text, as long as a drop-in of the generator. The kernel creates the
 * entries of one directory one at a time, so the directories are created in parallel
 * with the links, and then the files in parallel.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char *names[10000];
static int n, in, out;
static char text[440];

static const char *path_of(char path[300], const char *format, const char *name) {
	snprintf(path, 300, format, (int)strlen(name) - 3, name); /* less .vm */
	return path;
}

static void read_file(const char *name) {
	char content[4096];
	struct stat st;
	int fd = openat(in, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || read(fd, content, sizeof content) < 0 || close(fd) < 0)
		err(1, "read %s", name);
}

static void find_link(const char *name) {
	struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS };
	char path[300];
	int fd = syscall(SYS_openat2, AT_FDCWD, path_of(path, "/srv/%.*s", name), &how, sizeof how);
	if (fd >= 0)
		close(fd);
}

static void make_directory(const char *format, const char *name) {
	char path[300];

	if (mkdirat(out, path_of(path, format, name), 0755) < 0)
		err(1, "make %s", path);
}

static void make_directories(const char *name) {
	make_directory("claude-vm-setup@srv-%.*s.service.d", name);
	make_directory("claude-vm-virtiofsd@srv-%.*s.service.d", name);
	make_directory("claude-vm@srv-%.*s.service.d", name);
}

static void make_link(const char *name) {
	char path[300];

	path_of(path, "default.target.wants/claude-vm@srv-%.*s.service", name);
	if (symlinkat("../claude-vm@.service", out, path) < 0)
		err(1, "link %s", path);
}

static void make_file(const char *format, const char *name) {
	char path[300];
	int fd;

	path_of(path, format, name);
	fd = openat(out, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, text, sizeof text) < 0 || close(fd) < 0)
		err(1, "write %s", path);
}

static void make_files(const char *name) {
	make_file("claude-vm-setup@srv-%.*s.service.d/50-vm.conf", name);
	make_file("claude-vm-virtiofsd@srv-%.*s.service.d/50-vm.conf", name);
	make_file("claude-vm@srv-%.*s.service.d/50-vm.conf", name);
}

/* No thread starts a step before both have finished the previous one. */
static pthread_barrier_t step;

static void *work(void *second) {
	int from = second ? n / 2 : 0, to = second ? n : n / 2;

	for (int i = from; i < to; i++) {
		read_file(names[i]);
		find_link(names[i]);
	}
	pthread_barrier_wait(&step);
	for (int i = 0; i < n; i++)
		(second ? make_link : make_directories)(names[i]);
	pthread_barrier_wait(&step);
	for (int i = from; i < to; i++)
		make_files(names[i]);
	return NULL;
}

int main(int argc, char **argv) {
	DIR *dir;
	struct dirent *entry;
	pthread_t thread;

	if (argc < 2 || !(dir = opendir(getenv("CLAUDE_VM_UNIT_DIRS"))))
		errx(2, "usage: CLAUDE_VM_UNIT_DIRS=IN floor OUT");
	memset(text, '#', sizeof text);
	in = dirfd(dir);
	out = open(argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC);
	while ((entry = readdir(dir)))
		if (*entry->d_name != '.')
			names[n++] = strdup(entry->d_name);
	mkdirat(out, "default.target.wants", 0755);
	pthread_barrier_init(&step, NULL, 2);
	pthread_create(&thread, NULL, work, "second");
	work(NULL);
	pthread_join(thread, NULL);
	return 0;
}
