//go:build !unix

package link

import (
	"errors"
	"net"
	"os"
)

func checkListens(*os.File) error { return errors.ErrUnsupported }

func onlyIPv6(net.Listener) bool { return false }

func descriptorOf(net.Listener) (*os.File, error) { return nil, errors.ErrUnsupported }
