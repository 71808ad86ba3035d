module sluicegate/interop/line

go 1.23
