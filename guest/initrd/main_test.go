//go:build linux

package main

import (
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOption(t *testing.T) {
	tests := map[string]struct{ cmdline, want string }{
		"none":                       {"console=ttyS0 panic=-1\n", ""},
		"option":                     {"init=/dev/vdb quiet\n", "/dev/vdb"},
		"the last option wins":       {"init=/a init=/b\n", "/b"},
		"an option with that suffix": {"rdinit=/a\n", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := option(test.cmdline, "init="); got != test.want {
				t.Errorf("option(%q) = %q, want %q", test.cmdline, got, test.want)
			}
		})
	}
}

func TestTable(t *testing.T) {
	const table = `# a comment

rootfs / tmpfs x-initrd.mount,size=50%,mode=0755 0 0
/dev/vda /nix/.ro-store erofs x-initrd.mount,ro,x-systemd.after=a.service 0 0
overlay /nix/store overlay lowerdir=/sysroot/a,upperdir=/sysroot/b\040c,workdir=/sysroot/d 0 0
devpts /dev/pts devpts nosuid,noexec,gid=3,strictatime
/nix/a /b none rbind,nofail
`
	want := []fileSystem{
		{device: "rootfs", target: "/sysroot/", fstype: "tmpfs", data: "size=50%,mode=0755"},
		{device: "/dev/vda", target: "/sysroot/nix/.ro-store", fstype: "erofs", flags: unix.MS_RDONLY},
		{
			device: "overlay", target: "/sysroot/nix/store", fstype: "overlay",
			data: "lowerdir=/sysroot/a,upperdir=/sysroot/b c,workdir=/sysroot/d",
			dirs: []string{"/sysroot/b c", "/sysroot/d"},
		},
		{
			device: "devpts", target: "/sysroot/dev/pts", fstype: "devpts", data: "gid=3",
			flags: unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_STRICTATIME,
		},
		{device: "/sysroot/nix/a", target: "/sysroot/b", fstype: "none", flags: unix.MS_BIND | unix.MS_REC},
	}
	got, err := parseTable(table)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestIncompleteTable(t *testing.T) {
	_, err := parseTable("rootfs / tmpfs\n")
	if err == nil || !strings.Contains(err.Error(), "incomplete: rootfs / tmpfs") {
		t.Errorf("error %v", err)
	}
}
