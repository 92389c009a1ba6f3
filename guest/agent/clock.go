package main

import (
	"log"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// clockInterval is how often the clock is compared with the host's.
	clockInterval = 5 * time.Second
	// clockTolerance is what the real-time clock, which has whole seconds, cannot
	// tell from right.
	clockTolerance = 2 * time.Second
)

// keepClock steps the guest's clock when it is no longer the host's: the host was
// suspended, or QEMU was stopped for a while. QEMU's real-time clock is the host's
// clock, with and without KVM.
func keepClock() {
	rtc, err := os.Open("/dev/rtc0")
	if err != nil {
		log.Printf("the clock will not follow the host's: %v", err)
		return
	}
	defer rtc.Close()
	for {
		time.Sleep(clockInterval)
		t, err := unix.IoctlGetRTCTime(int(rtc.Fd()))
		if err != nil {
			log.Printf("the clock will not follow the host's: %v", err)
			return
		}
		host := time.Date(1900+int(t.Year), time.Month(1+t.Mon), int(t.Mday), int(t.Hour), int(t.Min), int(t.Sec), 0, time.UTC)
		host = host.Add(time.Second / 2) // in the middle of that second
		off := time.Until(host)
		if off.Abs() <= clockTolerance {
			continue
		}
		if err := setClock(host); err != nil {
			log.Print(err)
			return
		}
		log.Printf("stepped the clock by %v to that of the host", off.Round(time.Second))
	}
}
