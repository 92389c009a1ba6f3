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
	// clockTolerance is the largest difference that is not corrected: the real-time
	// clock has a resolution of one second.
	clockTolerance = 2 * time.Second
)

// keepClock steps the guest's clock when it differs from the host's. This happens after the
// host was suspended or QEMU was stopped for some time. QEMU's real-time clock follows the
// host's clock, with and without KVM.
func keepClock() {
	rtc, err := os.Open("/dev/rtc0")
	if err != nil {
		log.Printf("not synchronizing the clock with the host: %v", err)
		return
	}
	defer rtc.Close()
	for {
		time.Sleep(clockInterval)
		t, err := unix.IoctlGetRTCTime(int(rtc.Fd()))
		if err != nil {
			log.Printf("not synchronizing the clock with the host: %v", err)
			return
		}
		host := time.Date(1900+int(t.Year), time.Month(1+t.Mon), int(t.Mday), int(t.Hour), int(t.Min), int(t.Sec), 0, time.UTC)
		host = host.Add(time.Second / 2) // the clock has whole seconds: assume the middle
		off := time.Until(host)
		if off.Abs() <= clockTolerance {
			continue
		}
		if err := setClock(host); err != nil {
			log.Print(err)
			return
		}
		log.Printf("stepped the clock by %v to match the host", off.Round(time.Second))
	}
}
