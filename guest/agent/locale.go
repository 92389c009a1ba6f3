package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// setTimeZone makes name, such as Europe/Berlin, the time zone of the guest, as timedatectl
// does. It links /etc/localtime to a path that ends in zoneinfo/NAME, from which programs
// learn the name.
func setTimeZone(name string) error {
	if name == "" {
		return nil
	}
	if !filepath.IsLocal(name) {
		return fmt.Errorf("invalid time zone: %q", name)
	}
	const link = "/etc/localtime"
	for _, dir := range []string{"/usr/share/zoneinfo", "/etc/zoneinfo", baseDir + "/usr/share/zoneinfo"} { // Debian, NixOS, an image without
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
			continue
		}
		if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return os.Symlink(file, link)
	}
	return fmt.Errorf("unknown time zone: %s", name)
}

// keepLocales removes the variables from env that select a locale which the guest does not
// have: with them, programs like bash and perl would print warnings.
func keepLocales(env map[string]string) {
	var installed []string
	for name, value := range env {
		if name != "LANG" && !strings.HasPrefix(name, "LC_") {
			continue
		}
		if installed == nil {
			installed = locales()
		}
		if !hasLocale(installed, value) {
			delete(env, name)
		}
	}
}

// localeDir has a directory for each locale, or an archive.
const localeDir = "/usr/lib/locale"

// locales returns the names of the guest's locales as locale(1) prints them.
func locales() []string {
	names, err := firstNames(localeDir)
	if err == nil && !slices.Contains(names, "locale-archive") {
		return append(names, "C", "POSIX", "C.UTF-8")
	}
	out, err := exec.Command("locale", "-a").Output()
	if err != nil && !errors.Is(err, exec.ErrNotFound) { // missing in many images
		log.Printf("list the locales: %v", err)
	}
	return append(strings.Fields(string(out)), "C", "POSIX", "C.UTF-8")
}

// hasLocale reports whether a locale is installed. The codeset can be written in several
// ways: de_DE.UTF-8, de_DE.utf8.
func hasLocale(installed []string, name string) bool {
	normal := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "") }
	for _, i := range installed {
		if normal(i) == normal(name) {
			return true
		}
	}
	return false
}
