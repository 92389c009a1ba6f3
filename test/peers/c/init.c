// The first and only program of a guest that does nothing but what the benchmark of starts asks of
// all guests: what remains is the time of QEMU, virtiofsd and the kernel.
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void)
{
	mkdir("/work", 0755);
	if (mount("work", "/work", "virtiofs", 0, NULL) || creat("/work/ready", 0644) < 0)
		perror("/work");
	while (access("/work/stop", F_OK))
		usleep(500000);
	reboot(RB_POWER_OFF);
	return 1;
}
