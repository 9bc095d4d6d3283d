// Package ptytest gives tests a terminal to run a program on.
package ptytest
