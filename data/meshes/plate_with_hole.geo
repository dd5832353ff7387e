// A unit plate with a smooth off-centre hole and a rounded re-entrant notch; every boundary part has a name.
// plate_with_hole.msh:       gmsh -2 -format msh41 plate_with_hole.geo
// plate_with_hole_fine.msh:  gmsh -2 -format msh41 -setnumber scale 0.5 plate_with_hole.geo -o plate_with_hole_fine.msh
SetFactory("Built-in");
DefineConstant[ scale = {1, Name "Parameters/scale"} ];
h = 0.105 * scale;        // mesh size away from the hole
h_hole = 0.07 * scale;    // mesh size at the hole and at the notch

// The outline, counter-clockwise; the right side carries a half-round notch between y = 0.26 and y = 0.50.
Point(1) = {0, 0, 0, h};
Point(2) = {1, 0, 0, h};
Point(3) = {1, 0.26, 0, h_hole};
Point(4) = {1, 0.38, 0, h_hole};   // centre of the notch
Point(5) = {0.88, 0.38, 0, h_hole};
Point(6) = {1, 0.50, 0, h_hole};
Point(7) = {1, 1, 0, h};
Point(8) = {0, 1, 0, h};
Line(1) = {1, 2};
Line(2) = {2, 3};
Circle(3) = {3, 4, 5};
Circle(4) = {5, 4, 6};
Line(5) = {6, 7};
Line(6) = {7, 8};
Line(7) = {8, 1};

// The hole: an ellipse, half axes 0.20 and 0.13, turned by 30 degrees.
cx = 0.40; cy = 0.58; a = 0.20; b = 0.13; t = Pi / 6;
Point(10) = {cx, cy, 0, h_hole};
Point(11) = {cx + a*Cos(t), cy + a*Sin(t), 0, h_hole};
Point(12) = {cx - b*Sin(t), cy + b*Cos(t), 0, h_hole};
Point(13) = {cx - a*Cos(t), cy - a*Sin(t), 0, h_hole};
Point(14) = {cx + b*Sin(t), cy - b*Cos(t), 0, h_hole};
Ellipse(11) = {11, 10, 11, 12};
Ellipse(12) = {12, 10, 13, 13};
Ellipse(13) = {13, 10, 13, 14};
Ellipse(14) = {14, 10, 11, 11};

Curve Loop(1) = {1, 2, 3, 4, 5, 6, 7};
Curve Loop(2) = {11, 12, 13, 14};
Plane Surface(1) = {1, 2};

Physical Curve("left", 1) = {7};
Physical Curve("right", 2) = {2, 5};
Physical Curve("bottom", 3) = {1};
Physical Curve("top", 4) = {6};
Physical Curve("notch", 5) = {3, 4};
Physical Curve("hole", 6) = {11, 12, 13, 14};
Physical Surface("plate", 7) = {1};
