// Package recordfmt writes and reads records as text, for the programs
// consumer and producer: percent layouts and JSON, one object per line.
//
// The verbs of a layout:
//
//	%v %s   value                       %V %S   its length
//	%k      key                         %K      its length
//	%t      topic                       %p      partition
//	%o      offset                      %e      leader epoch
//	%T      timestamp, ISO 8601, local; %T{ms} in milliseconds
//	%d      timestamp in milliseconds; %d{go[15:04:05]}, %d{strftime[%F %T]}
//	%h      headers as k=v,k=v; %h{ %k=%v } each as the inner layout says
//	%H      number of headers           %i      number of the record, from 1
//	%]      high watermark              %%      a percent sign
//
// %k and %v take {hex}, {base64} and {json}. Outside of verbs \n, \t, \r, \\
// and \xNN are escapes.
//
// For reading, %k %v %t %p %d %T{ms} name the fields; what is between two verbs
// ends the first of them, and what is after the last ends the record.
//
// It writes into buffers of the caller's and does no I/O of its own except in
// Reader.
package recordfmt
