// Package scenarios has the files of scenarios that come with the program. Their format is bench/compare's Plan.
package scenarios
