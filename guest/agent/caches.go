package main

import (
	"fmt"
	"log"
	"os"
	"strings"
	"time"
)

// Files of proc(5).
const (
	inodeCount = "/proc/sys/fs/inode-nr"
	slabInfo   = "/proc/slabinfo"
	dropCaches = "/proc/sys/vm/drop_caches"
)

// limitInodes keeps the number of cached inodes below limit, the number of files that
// virtiofsd can open: it has one open for every inode of the share in the guest's cache, and
// at the limit, each access to another file fails. Linux frees inodes only when memory is
// short. report is called with the number of times that the cache was dropped.
func limitInodes(limit int, report func(drops int)) {
	if limit <= 0 {
		return
	}
	threshold := limit / 2
	for drops := 0; ; {
		n, err := allInodes()
		if err == nil && n >= threshold {
			n, err = shareInodes()
		}
		if err != nil {
			log.Printf("read the number of inodes: %v", err)
			return
		}
		if n < threshold {
			time.Sleep(pause(n, limit))
			continue
		}
		// 2 frees dentries and inodes that are not in use.
		if err := os.WriteFile(dropCaches, []byte("2\n"), 0); err != nil {
			log.Printf("drop the inode cache: %v", err)
			return
		}
		drops++
		report(drops)
		// What is in use cannot be freed. Do not try again before there are more.
		if n, err = shareInodes(); err == nil {
			threshold = max(limit/2, min(n+limit/8, limit-limit/8))
		}
		time.Sleep(pause(n, limit))
	}
}

// pause returns how long n inodes can be left alone. virtiofsd opens at most 50000 files in a
// second.
func pause(n, limit int) time.Duration {
	const rate = 50_000
	return min(max(time.Duration(limit-n)*time.Second/rate, 20*time.Millisecond), 5*time.Second)
}

// allInodes returns the number of inodes of all file systems. Reading it is cheap.
func allInodes() (n int, err error) {
	text, err := os.ReadFile(inodeCount)
	if err == nil {
		_, err = fmt.Sscan(string(text), &n)
	}
	return n, err
}

// shareInodes returns the number of inodes of the share that the kernel has in its cache.
// Reading it takes 10 ms under emulation.
func shareInodes() (int, error) {
	text, err := os.ReadFile(slabInfo)
	if err != nil {
		return 0, err
	}
	_, line, found := strings.Cut(string(text), "\nfuse_inode ")
	if !found {
		return 0, fmt.Errorf("%s does not have fuse_inode", slabInfo)
	}
	var active int
	_, err = fmt.Sscan(line, &active)
	return active, err
}
