package tools

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// A Disk is a small file system in memory.
type Disk struct{ folder string }

// MoveToDisk moves a folder of a stopped server to its own disk.
func MoveToDisk(ctx context.Context, box *Box, folder string, megabytes int) (*Disk, error) {
	info, err := os.Stat(folder)
	if err != nil {
		return nil, err
	}
	owner := info.Sys().(*syscall.Stat_t)
	away := filepath.Join(filepath.Dir(folder), "moved")
	if err := errors.Join(os.Rename(folder, away), os.Mkdir(folder, 0o700)); err != nil {
		return nil, err
	}
	options := fmt.Sprintf("size=%dm,uid=%d,gid=%d,mode=0700", megabytes, owner.Uid, owner.Gid)
	if err := syscall.Mount("disk", folder, "tmpfs", 0, options); err != nil {
		return nil, fmt.Errorf("it takes the right to mount (CAP_SYS_ADMIN): %s: %w", folder, err)
	}
	d := &Disk{folder}
	if _, err := box.Run(ctx, "cp", "-a", away+"/.", folder); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, os.RemoveAll(away)
}

func (d *Disk) filler() string { return filepath.Join(d.folder, "filler") }

// Fill leaves no byte free.
func (d *Disk) Fill() error {
	file, err := os.OpenFile(d.filler(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	for size := 1 << 20; size > 0; {
		_, err := file.Write(make([]byte, size))
		switch {
		case errors.Is(err, syscall.ENOSPC):
			size /= 2
		case err != nil:
			return err
		}
	}
	return nil
}

// Free removes the bytes of Fill.
func (d *Disk) Free() error { return os.Remove(d.filler()) }

// Close unmounts the disk, and its files are gone.
func (d *Disk) Close() error { return syscall.Unmount(d.folder, syscall.MNT_DETACH) }
