// watchfiles prints the events of inotify(7) in a directory.
//
//	watchfiles DIRECTORY
package main

import (
	"fmt"
	"log"
	"os"

	"github.com/t0mpr1c3/claude-microvm/internal/inotify"
	"golang.org/x/sys/unix"
)

func main() {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err == nil {
		_, err = unix.InotifyAddWatch(fd, os.Args[1], unix.IN_MODIFY|unix.IN_CLOSE_WRITE|unix.IN_ATTRIB|unix.IN_CREATE|unix.IN_DELETE|unix.IN_MOVE)
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("watching")
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Read(fd, buf)
		if err != nil {
			log.Fatal(err)
		}
		for e := range inotify.Events(buf[:n]) {
			switch {
			case e.Mask&unix.IN_MODIFY != 0:
				fmt.Printf("modify %q\n", e.Name)
			case e.Mask&unix.IN_CLOSE_WRITE != 0:
				fmt.Printf("close %q\n", e.Name)
			case e.Mask&unix.IN_CREATE != 0:
				fmt.Printf("create %q\n", e.Name)
			case e.Mask&unix.IN_DELETE != 0:
				fmt.Printf("delete %q\n", e.Name)
			default:
				fmt.Printf("%#x %q\n", e.Mask, e.Name)
			}
		}
	}
}
