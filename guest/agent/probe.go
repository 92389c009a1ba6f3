package main

import (
	"os"
	"path/filepath"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
)

// probeScratch makes the kernel look at the scratch disk again. A guest that has resumed knows the disk of
// the template, whose size is another.
func probeScratch(blockDevices string) error {
	disk, err := findDisk(blockDevices, contract.ScratchSerial)
	if err != nil || disk == "" {
		return err
	}
	device, err := filepath.EvalSymlinks(filepath.Join(blockDevices, filepath.Base(disk), "device"))
	if err != nil {
		return err
	}
	driver, err := filepath.EvalSymlinks(filepath.Join(device, "driver"))
	if err != nil {
		return err
	}
	for _, action := range []string{"unbind", "bind"} {
		if err := os.WriteFile(filepath.Join(driver, action), []byte(filepath.Base(device)), 0); err != nil {
			return err
		}
	}
	return nil
}
